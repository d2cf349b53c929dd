//! The lines of an mbox in the form mboxrd.
//!
//! ```text
//!  From levy@example.test Mon Nov 30 11:00:00 2026     separator: at the file's begin, or after a blank line
//!  Subject: supper                                     the letter
//!
//!  >From now on                                        the letter's line "From now on"
//!                                                      a blank line, which is no part of the letter
//!  From …
//! ```
//!
//! A writer puts one `>` before each line of a letter that begins with `From ` after any number of `>`; a
//! reader takes one away. So what is read is what was written.

/// How a separator begins, at the start of a line.
pub(crate) const SEPARATOR: &[u8] = b"From ";
/// Bytes of a line that decide what it is, unless it begins with `>`.
pub(crate) const DECIDING: usize = 1024;

/// A header field that UPDATE adds to a letter, with its number among those that have one id, where without it the
/// number would change because another one of them is removed.
pub(crate) const NUMBER: &[u8] = b"X-UIDL-Number";

/// Header fields that mail readers and UPDATE change: no part of what makes a letter that letter.
const CHANGING: [&[u8]; 9] = [
    b"Status",
    b"X-Status",
    b"X-Keywords",
    b"X-UID",
    b"X-IMAP",
    b"X-IMAPbase",
    b"Content-Length",
    b"Lines",
    NUMBER,
];

/// Returns whether a line begins a letter, where the line before is blank.
pub(crate) fn is_separator(line: &[u8]) -> bool {
    line.starts_with(SEPARATOR)
}

/// What the first bytes of a line say: whether it is quoted. They may come in pieces, because the `>` before
/// [`SEPARATOR`] can be more than a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// Nothing but `>`, or nothing.
    Marks { has_any: bool },
    /// Any number of `>`, and this many bytes of [`SEPARATOR`].
    Separator(usize),
    /// Known: it has one `>` more than what was written.
    Quoted,
    /// Known: it is not quoted.
    Plain,
}

impl Quoting {
    /// At the start of a line.
    pub(crate) const START: Quoting = Quoting::Marks { has_any: false };

    /// Returns what is known with more bytes of the line.
    pub(crate) fn with(self, bytes: &[u8]) -> Quoting {
        let (has_any, mut at, bytes) = match self {
            Quoting::Quoted | Quoting::Plain => return self,
            Quoting::Separator(at) => (true, at, bytes),
            Quoting::Marks { has_any } => {
                let marks = bytes.iter().take_while(|&&byte| byte == b'>').count();
                (has_any || marks > 0, 0, bytes.get(marks..).unwrap_or_default())
            }
        };
        for &byte in bytes {
            if !has_any || SEPARATOR.get(at) != Some(&byte) {
                return Quoting::Plain;
            }
            at += 1;
            if at == SEPARATOR.len() {
                return Quoting::Quoted;
            }
        }
        if at == 0 { Quoting::Marks { has_any } } else { Quoting::Separator(at) }
    }
}

/// Returns whether a line has nothing but its end.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Returns the value of a header line with this name, if it is one.
pub(crate) fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    if start.eq_ignore_ascii_case(name) { rest.strip_prefix(b":") } else { None }
}

/// Returns whether a header line goes on with the field of the line before.
pub(crate) fn is_continued(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// Returns whether a header line begins a field that mail readers change.
pub(crate) fn is_changing(line: &[u8]) -> bool {
    CHANGING.iter().any(|name| value_of(line, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_quoted_by_any_number_of_marks_wherever_it_is_cut() {
        let long = [&vec![b'>'; 3 * DECIDING][..], b"From "].concat();
        for (line, is_quoted) in [
            (&b">From x"[..], true),
            (b">>>From \n", true),
            (b">From ", true),
            (&long, true),
            (b"From x", false),
            (b"> From x", false),
            (b">from x", false),
            (b">Fro\n", false),
            (b">", false),
            (b"", false),
            (b">From", false),
        ] {
            for size in 1..=line.len().clamp(1, 9) {
                let told = line.chunks(size).fold(Quoting::START, Quoting::with);
                assert_eq!(told == Quoting::Quoted, is_quoted, "{} {size}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn fields_that_mail_readers_change_are_known_in_any_case() {
        assert!(is_changing(b"Status: RO\n") && is_changing(b"x-uid:7"));
        assert!(!is_changing(b"Status-x: RO\n") && !is_changing(b"Subject: Status:\n"));
        assert!(is_continued(b"\tx") && !is_continued(b"x"));
    }
}
