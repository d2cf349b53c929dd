//! A notification for a server that takes no bytes beyond ASCII (without 8BITMIME, RFC 6152 §3).

use crate::returned::{WHOLE, cut_to_header, header};
use crate::text::quoted_printable;

/// What takes the place of [`WHOLE`].
const HEADER_ALONE: &str = "The header of your letter is below, and not all of it, because a mail server on the way takes no\n\
     8-bit letters.";
/// How fields of a notification begin, as [`crate::Report`] writes them.
const FROM: &str = "From: Mail delivery <MAILER-DAEMON@";
const BOUNDARY: &str =
    "Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"";
const ENCODING: &str = "Content-Transfer-Encoding: ";

/// Returns a notification without bytes beyond ASCII: texts, headers and fields in quoted-printable. A letter that came back whole
/// may not be encoded (RFC 2046 §5.2.1), and to convert it would need all of MIME: its header takes its place. `None` for what is no
/// notification of ours, or has such bytes in its own header.
#[must_use]
pub fn in_seven_bits(text: &[u8]) -> Option<Vec<u8>> {
    let at = text.windows(2).position(|pair| pair == b"\n\n")? + 1;
    let (own, rest) = text.split_at_checked(at)?;
    let own = std::str::from_utf8(own).ok().filter(|own| own.is_ascii())?;
    let fields = own.find(FROM).and_then(|at| own.get(at..))?;
    let (_, boundary) = fields.split_once(BOUNDARY)?;
    let (boundary, _) = boundary.split_once('"')?;
    let mut parts = Parts { rest, delimiter: format!("\n--{boundary}").into_bytes() };
    let mut plain = own.replace(&format!("{ENCODING}8bit\n"), &format!("{ENCODING}7bit\n"));
    parts.next().filter(|before| before.is_empty())?;
    let mut found = Vec::new();
    while let Some(part) = parts.next() {
        if part == b"--\n" {
            found.iter().for_each(|part: &Part| plain.push_str(&part.text(boundary)));
            plain.push_str(&format!("\n--{boundary}--\n"));
            return Some(plain.into_bytes());
        }
        found.push(Part::read(part)?);
        if found.last().is_some_and(|part| part.is_cut) {
            found.iter_mut().for_each(Part::says_why);
        }
    }
    None
}

/// What stands between delimiters.
struct Parts<'a> {
    rest: &'a [u8],
    delimiter: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.delimiter.len();
        let at = self.rest.windows(length).position(|it| it == self.delimiter);
        let (part, rest) = self.rest.split_at(at.unwrap_or(self.rest.len()));
        self.rest = rest.get(length..).unwrap_or_default();
        Some(part)
    }
}

/// A part of a notification, without bytes beyond ASCII.
struct Part {
    kind: String,
    encoding: &'static str,
    content: Vec<u8>,
    /// Its header alone is there.
    is_cut: bool,
}

impl Part {
    fn read(part: &[u8]) -> Option<Part> {
        let part = part.strip_prefix(b"\nContent-Type: ")?;
        let at = part.iter().position(|&b| b == b'\n')?;
        let (kind, rest) = (std::str::from_utf8(part.get(..at)?).ok()?, part.get(at + 1..)?);
        let rest = rest.strip_prefix(ENCODING.as_bytes())?;
        let at = rest.iter().position(|&b| b == b'\n')?;
        let (encoding, content) = (rest.get(..at)?, rest.get(at + 2..)?);
        let (kind, content) = (kind.to_owned(), content.to_vec());
        Some(match (encoding, kind.as_str()) {
            (b"7bit", _) => Part { kind, encoding: "7bit", content, is_cut: false },
            (b"quoted-printable", _) => {
                Part { kind, encoding: "quoted-printable", content, is_cut: false }
            }
            (_, "message/rfc822") => {
                let mut text = content;
                cut_to_header(&mut text);
                let (kind, encoding, content) = header(&text, false);
                Part { kind: kind.into(), encoding, content, is_cut: true }
            }
            _ => {
                let content = quoted_printable(&content);
                Part { kind, encoding: "quoted-printable", content, is_cut: false }
            }
        })
    }

    /// Changes what the text for a person says of the letter, the last thing there.
    fn says_why(&mut self) {
        let note = WHOLE.as_bytes();
        let at = self.content.windows(note.len()).rposition(|it| it == note);
        if let Some(at) = at.filter(|_| self.kind.starts_with("text/plain")) {
            self.content.splice(at..at + note.len(), HEADER_ALONE.bytes());
        }
    }

    fn text(&self, boundary: &str) -> String {
        let Part { kind, encoding, content, .. } = self;
        let content = String::from_utf8_lossy(content); // it is ASCII
        format!("\n--{boundary}\nContent-Type: {kind}\n{ENCODING}{encoding}\n\n{content}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{About, Action, Recipient, Report, Returned};

    fn text(letter: &[u8], wants_whole: bool, is_utf8: bool, to: &[u8]) -> Vec<u8> {
        let now = "2026-11-02T09:05:07+02:00[+02:00]".parse().unwrap();
        let recipient = Recipient {
            address: "l\u{e9}vy@red.test".as_bytes(),
            orcpt: b"",
            action: Action::Failed,
            default_status: None,
            remote: b"red.test",
            reply: "550 5.1.1 Your letter is below. inconn\u{fc}".as_bytes(),
            attempted: None,
            retried_until: None,
        };
        let returned = Returned::read(&mut &letter[..], wants_whole, is_utf8).unwrap();
        let report = Report {
            hostname: "topaz.test",
            id: "1-2-3",
            about: About::Failure,
            now: &now,
            to,
            envid: b"",
            arrived: &now,
            is_utf8,
            recipients: vec![recipient],
            returned: Some(returned),
        };
        report.text().bytes
    }

    #[test]
    fn all_parts_are_there_in_seven_bits() {
        let letter = "Subject: gr\u{fc}n\n\nsecret \u{fc}\n".as_bytes();
        for (wants_whole, is_utf8) in [(false, false), (true, false), (false, true), (true, true)] {
            let before = text(letter, wants_whole, is_utf8, b"hedrick@topaz.test");
            let after = in_seven_bits(&before).unwrap();
            assert!(!before.is_ascii() && after.is_ascii());
            let after = String::from_utf8(after).unwrap();
            assert_eq!(after.matches("\n--report-1-2-3.1.\n").count(), 3, "{after}");
            assert!(after.ends_with("\n--report-1-2-3.1.--\n"));
            assert!(
                !after.contains("8bit") && after.contains("\nContent-Transfer-Encoding: 7bit\n")
            );
            assert!(after.lines().all(|line| line.len() <= 998));
            assert!(after.contains("Subject: gr=C3=BCn\n"), "{after}");
            let is_whole = wants_whole && is_utf8; // message/global may be encoded (RFC 6532 §3.7)
            assert_eq!(after.contains("secret =C3=BC"), is_whole, "{after}");
            let kind = match (wants_whole, is_utf8) {
                (_, false) => "text/rfc822-headers; charset=utf-8",
                (false, true) => "message/global-headers",
                (true, true) => "message/global",
            };
            let part =
                format!("Content-Type: {kind}\nContent-Transfer-Encoding: quoted-printable\n");
            assert!(after.contains(&part), "{after}");
        }
    }

    #[test]
    fn the_text_says_why_a_letter_does_not_come_back_whole() {
        let letter = "Subject: a\n\n\u{fc}\n".as_bytes();
        let after = in_seven_bits(&text(letter, true, false, b"hedrick@topaz.test")).unwrap();
        let after = String::from_utf8(after).unwrap();
        assert!(after.contains("takes no\n8-bit letters."), "{after}");
        // What another server has said is left alone.
        assert!(after.contains("550 5.1.1 Your letter is below."), "{after}");
        assert!(after.contains("\nSubject: a\n\n--report-1-2-3.1.--\n"), "{after}");
    }

    #[test]
    fn what_is_no_notification_or_needs_utf_8_itself_is_left() {
        let letter = b"Subject: a\n\n\xfc\n";
        assert_eq!(in_seven_bits(letter), None);
        assert_eq!(in_seven_bits(b""), None);
        assert_eq!(in_seven_bits(&text(letter, true, true, "\u{fc}@topaz.test".as_bytes())), None);
        let whole = text(letter, true, false, b"hedrick@topaz.test");
        for end in 0..whole.len() {
            assert_eq!(in_seven_bits(&whole[..end]), None, "{end}");
        }
        // Another server's field above.
        let traced = [b"Received: by a.test; x\n", &whole[..]].concat();
        assert!(in_seven_bits(&traced).unwrap().is_ascii());
    }
}
