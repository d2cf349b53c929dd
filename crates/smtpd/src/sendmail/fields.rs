//! The fields of a letter's header: who is to have it (`-t`), and addresses without a domain.

use crate::protocol::address::BadAddress;
use crate::sendmail::addresses::addresses;

/// Longest name of a field in bytes, as far as a line is read for one (RFC 5322 §2.1.1).
pub(super) const MAX_NAME: usize = 998;
/// Fields whose addresses are recipients (RFC 5322 §3.6.3).
const RECIPIENTS: [&str; 3] = ["To", "Cc", "Bcc"];
/// The same of a letter that is sent on (RFC 5322 §3.6.6).
const RESENT_RECIPIENTS: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
/// Fields of addresses that get a domain.
const COMPLETED: [&str; 9] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
];
/// Begins the names of what is added to a letter that is sent on.
const RESENT: &[u8] = b"Resent-";
/// Trace fields, which end a block of those (RFC 5322 §3.6.7).
const TRACE: [&str; 2] = ["Received", "Return-Path"];

/// A field: a name, and the value with its folded lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl Field<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    fn is_resent(&self) -> bool {
        self.name.get(..RESENT.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESENT))
    }
}

/// Returns the name of the field that a line begins, without its line end; `None` where it begins none.
pub(super) fn field_name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().take(MAX_NAME).position(|&byte| byte == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(|byte| matches!(byte, 33..=126))).then_some(name)
}

/// Whether a line continues the field above it.
pub(super) fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// A whole header, whose lines end in LF.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a>(pub(super) &'a [u8]);

impl<'a> Header<'a> {
    fn fields(self) -> impl Iterator<Item = Field<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let name = field_name(rest)?;
            let (field, after) = rest.split_at_checked(end_of_field(rest))?;
            rest = after;
            Some(Field { name, value: parts(field).1 })
        })
    }

    /// Whether the letter is sent on, by a block of its own above the header of its author (RFC 5322 §3.6.6).
    pub(super) fn is_resent(self) -> bool {
        self.fields().any(|field| field.is_resent())
    }

    /// Whether a field is there; of those of a letter that is sent on, in the first block.
    pub(super) fn has(self, name: &str) -> bool {
        match name.as_bytes().starts_with(RESENT) {
            true => self.first_block().iter().any(|field| field.is(name)),
            false => self.fields().any(|field| field.is(name)),
        }
    }

    /// Returns the recipients, each as SMTP has it: those of the latest block of a letter that is sent on, or else of
    /// the header.
    ///
    /// # Errors
    /// The name of a field, and what is wrong in it.
    pub(super) fn recipients(self) -> Result<Vec<String>, (String, BadAddress)> {
        let (fields, names) = match self.is_resent() {
            true => (self.first_block(), RESENT_RECIPIENTS),
            false => (self.fields().collect(), RECIPIENTS),
        };
        let mut found = Vec::new();
        for field in fields.iter().filter(|field| names.iter().any(|name| field.is(name))) {
            let name = || String::from_utf8_lossy(field.name).into_owned();
            let listed = addresses(field.value).map_err(|bad| (name(), bad))?;
            found.extend(listed.into_iter().map(|it| it.text));
        }
        Ok(found)
    }

    /// The block that was added last: it stands above the others, and has each of its fields once; below it
    /// stand traces, or a field that it has already.
    fn first_block(self) -> Vec<Field<'a>> {
        let mut block: Vec<Field<'a>> = Vec::new();
        for field in self.fields() {
            let again = block.iter().any(|it| it.name.eq_ignore_ascii_case(field.name));
            let is_trace = TRACE.iter().any(|name| field.is(name));
            match field.is_resent() {
                true if again => break,
                true => block.push(field),
                false if is_trace && !block.is_empty() => break,
                false => {}
            }
        }
        block
    }

    /// Returns the header with a domain after each address that has none; a field that is no list of addresses stays
    /// as it is.
    pub(super) fn with_domains(self, domain: &str) -> Vec<u8> {
        let (mut text, mut rest) = (Vec::with_capacity(self.0.len()), self.0);
        while let Some((field, after)) = rest.split_at_checked(end_of_field(rest)) {
            if field.is_empty() {
                break;
            }
            let (start, value) = parts(field);
            let is_list =
                |name: &[u8]| COMPLETED.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
            let is_list = field_name(field).is_some_and(is_list);
            let listed = if is_list { addresses(value).unwrap_or_default() } else { Vec::new() };
            text.extend_from_slice(start);
            let mut done = 0;
            for end in listed.iter().filter_map(|it| it.end_of_name) {
                text.extend_from_slice(value.get(done..end).unwrap_or_default());
                text.extend([b"@", domain.as_bytes()].concat());
                done = end;
            }
            text.extend_from_slice(value.get(done..).unwrap_or_default());
            rest = after;
        }
        text
    }
}

/// Splits a field after its colon.
fn parts(field: &[u8]) -> (&[u8], &[u8]) {
    let colon = field.iter().position(|&byte| byte == b':').map_or(field.len(), |at| at + 1);
    field.split_at_checked(colon).unwrap_or((field, &[]))
}

/// Returns the length of the field at the start of a text, with its folded lines.
fn end_of_field(text: &[u8]) -> usize {
    let mut end = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if end > 0 && !is_folded(line) {
            break;
        }
        end += line.len();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipients(header: &str) -> Vec<String> {
        Header(header.as_bytes()).recipients().unwrap()
    }

    #[test]
    fn a_field_has_a_name_and_folded_lines() {
        for (line, name) in [
            (&b"Subject: a"[..], Some(&b"Subject"[..])),
            (b"To :x", Some(b"To")),
            (b"From levy Mon Nov 30 10:00:00", None),
            (b": x", None),
            (b"hello", None),
            (b"b\xfcro: x", None),
        ] {
            assert_eq!(field_name(line), name);
        }
        let header = Header(b"A: b\n c\nD:e\n");
        let fields: Vec<_> = header.fields().map(|it| (it.name, it.value)).collect();
        assert_eq!(fields, [(&b"A"[..], &b" b\n c\n"[..]), (b"D", b"e\n")]);
    }

    #[test]
    fn recipients_are_those_of_to_cc_and_bcc() {
        let header = "From: x@y.test\nTo: a@b.test,\n\tC <c@d.test>\ncc: e@f.test\nBCC: g@h.test\nTo: i\n\
                      Apparently-To: no@b.test\nReply-To: no@b.test\n";
        let found = ["a@b.test", "c@d.test", "e@f.test", "g@h.test", "i"];
        assert_eq!(recipients(header), found);
        let bad = Header(b"Cc: two words\n").recipients().unwrap_err();
        assert_eq!(bad.0, "Cc");
    }

    #[test]
    fn a_letter_that_is_sent_on_goes_to_those_of_the_latest_block() {
        for (header, found) in [
            ("Resent-From: x@y.test\nResent-To: a@b.test\nTo: no@b.test\n", &["a@b.test"][..]),
            (
                "To: no@b.test\nResent-Bcc: a@b.test\nSubject: s\nresent-cc: c@d.test\n",
                &["a@b.test", "c@d.test"],
            ),
            (
                "Resent-To: a@b.test\nResent-From: x\nResent-From: y\nResent-To: no@b.test\n",
                &["a@b.test"],
            ),
            ("Resent-To: a@b.test\nReceived: x\nResent-Cc: no@b.test\n", &["a@b.test"]),
            (
                "Received: x\nResent-To: a@b.test\nReceived: y\nResent-To: no@b.test\n",
                &["a@b.test"],
            ),
            ("Resent-From: x@y.test\nTo: no@b.test\n", &[]),
        ] {
            assert_eq!(recipients(header), found, "{header}");
        }
    }

    #[test]
    fn names_without_a_domain_get_one() {
        let header = "From: root (Cron Daemon)\nTo: ann,\n <bob>, c@d.test\nCc: two words\nSubject: root\n\
                      Resent-To:levy\n";
        let expected = "From: root@red.test (Cron Daemon)\nTo: ann@red.test,\n <bob@red.test>, c@d.test\n\
                        Cc: two words\nSubject: root\nResent-To:levy@red.test\n";
        let completed = Header(header.as_bytes()).with_domains("red.test");
        assert_eq!(String::from_utf8(completed).unwrap(), expected);
    }
}
