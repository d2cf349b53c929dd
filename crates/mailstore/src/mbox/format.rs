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
//! A writer puts one `>` before each line of a letter that begins with `From ` behind any number of `>`; a
//! reader takes one away. So what is read is what was written.

/// How a separator begins, at the start of a line.
pub(crate) const SEPARATOR: &[u8] = b"From ";
/// Most bytes of a line that decide what it is. A line with more `>` at its start is no quoted one.
pub(crate) const DECIDING: usize = 1024;

/// Header fields that mail readers change: no part of what makes a letter that letter.
const CHANGING: [&[u8]; 8] = [
    b"Status",
    b"X-Status",
    b"X-Keywords",
    b"X-UID",
    b"X-IMAP",
    b"X-IMAPbase",
    b"Content-Length",
    b"Lines",
];

/// Returns whether a line begins a letter, where the line before is blank.
pub(crate) fn is_separator(line: &[u8]) -> bool {
    line.starts_with(SEPARATOR)
}

/// Returns whether a line has lost its first `>` when it is read.
pub(crate) fn is_quoted(line: &[u8]) -> bool {
    let line = line.get(..DECIDING).unwrap_or(line);
    let marks = line.iter().take_while(|&&byte| byte == b'>').count();
    marks > 0 && line.get(marks..).is_some_and(|rest| rest.starts_with(SEPARATOR))
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
    fn a_line_is_quoted_by_any_number_of_marks() {
        for quoted in [&b">From x"[..], b">>>From \n", b">From "] {
            assert!(is_quoted(quoted));
        }
        for plain in [&b"From x"[..], b"> From x", b">from x", b">", b"", b">From"] {
            assert!(!is_quoted(plain), "{}", plain.escape_ascii());
        }
        let long = [&vec![b'>'; DECIDING][..], b"From "].concat();
        assert!(!is_quoted(&long));
        assert!(is_quoted(&long[SEPARATOR.len()..]));
    }

    #[test]
    fn fields_that_mail_readers_change_are_known_in_any_case() {
        assert!(is_changing(b"Status: RO\n") && is_changing(b"x-uid:7"));
        assert!(!is_changing(b"Status-x: RO\n") && !is_changing(b"Subject: Status:\n"));
        assert!(is_continued(b"\tx") && !is_continued(b"x"));
    }
}
