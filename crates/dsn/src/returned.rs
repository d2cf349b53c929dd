//! What a notification brings back of the letter: its header, or all of it (RFC 6522 §3, RFC 3461 §4.3).

use std::io::{self, Read};

use crate::text::{has_plain_lines, quoted_printable};

/// Longest letter in bytes that is brought back whole.
const MAX_WHOLE: usize = 1 << 20;
/// Longest header in bytes that is brought back.
const MAX_HEADER: usize = 64 << 10;

/// What a person reads of a letter that comes back whole.
pub(crate) const WHOLE: &str = "Your letter is below.";

/// The third part of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Its Content-Type.
    kind: &'static str,
    /// Its Content-Transfer-Encoding.
    encoding: &'static str,
    /// Its lines, which end in LF.
    pub(crate) text: Vec<u8>,
    /// What a person reads about it.
    pub(crate) note: String,
}

impl Returned {
    /// Reads the text of a letter, with lines that end in LF. Its header comes back, or the whole letter if that is
    /// wanted, it is no longer than 1 MiB, and its lines are no longer than a letter's may be. `is_utf8` tells that
    /// there may be UTF-8 in its header (RFC 6531).
    ///
    /// # Errors
    /// As read(2).
    pub fn read(letter: &mut impl Read, wants_whole: bool, is_utf8: bool) -> io::Result<Returned> {
        let limit = if wants_whole { MAX_WHOLE } else { MAX_HEADER };
        let mut text = Vec::new();
        letter.take(limit as u64 + 1).read_to_end(&mut text)?;
        if wants_whole && text.len() <= MAX_WHOLE && has_plain_lines(&text) {
            return Ok(whole(text, is_utf8));
        }
        let mut note = String::from("The header of your letter is below.");
        if wants_whole && text.len() > MAX_WHOLE {
            note = format!(
                "Your letter is longer than {MAX_WHOLE} bytes, so its header alone is below."
            );
        } else if wants_whole {
            note = String::from(
                "Your letter has lines that are too long, so its header alone is below.",
            );
        }
        cut_to_header(&mut text);
        if text.len() > MAX_HEADER {
            let end = text.get(..MAX_HEADER).and_then(|it| it.iter().rposition(|&b| b == b'\n'));
            text.truncate(end.map_or(MAX_HEADER, |at| at + 1));
            note = format!("The first {} bytes of your letter's header are below.", text.len());
        }
        let (kind, encoding, text) = header(&text, is_utf8);
        Ok(Returned { kind, encoding, text, note })
    }

    /// Returns whether there are bytes beyond ASCII in it.
    pub(crate) fn is_eight_bit(&self) -> bool {
        self.encoding == "8bit"
    }

    /// Returns the header of the part, in lines that end in LF.
    pub(crate) fn mime(&self) -> String {
        format!("Content-Type: {}\nContent-Transfer-Encoding: {}\n", self.kind, self.encoding)
    }
}

fn whole(text: Vec<u8>, is_utf8: bool) -> Returned {
    let is_ascii = text.is_ascii();
    Returned {
        kind: if is_utf8 && !is_ascii { "message/global" } else { "message/rfc822" },
        encoding: if is_ascii { "7bit" } else { "8bit" },
        text,
        note: WHOLE.to_owned(),
    }
}

/// A header with bytes beyond ASCII that may not be there, or with lines that are too long, is encoded: so a server
/// without 8BITMIME takes it, and no byte is lost. Returns Content-Type, encoding and text.
pub(crate) fn header(text: &[u8], is_utf8: bool) -> (&'static str, &'static str, Vec<u8>) {
    let (is_ascii, is_plain) = (text.is_ascii(), has_plain_lines(text));
    let kind = match is_utf8 && !is_ascii {
        true => "message/global-headers", // RFC 6533 §5
        false if !is_ascii && std::str::from_utf8(text).is_ok() => {
            "text/rfc822-headers; charset=utf-8"
        }
        false => "text/rfc822-headers",
    };
    let (encoding, text) = match (is_plain, is_ascii) {
        (true, true) => ("7bit", text.to_vec()),
        (true, false) if is_utf8 => ("8bit", text.to_vec()),
        _ => ("quoted-printable", quoted_printable(text)),
    };
    (kind, encoding, text)
}

/// Cuts a letter off after its header. A text that does not begin with a field has none.
pub(crate) fn cut_to_header(text: &mut Vec<u8>) {
    if text.first() == Some(&b'\n') {
        text.clear();
    }
    if let Some(at) = text.windows(2).position(|pair| pair == b"\n\n") {
        text.truncate(at + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], wants_whole: bool, is_utf8: bool) -> Returned {
        Returned::read(&mut &text[..], wants_whole, is_utf8).unwrap()
    }

    #[test]
    fn the_header_or_the_letter_comes_back_as_it_was_wanted() {
        let letter = b"Subject: a\nTo: b@c.test\n\ntext\n\nmore\n";
        let headers = read(letter, false, false);
        assert_eq!(headers.text, b"Subject: a\nTo: b@c.test\n");
        assert_eq!((headers.kind, headers.encoding), ("text/rfc822-headers", "7bit"));
        let whole = read(letter, true, false);
        assert_eq!((whole.kind, whole.encoding), ("message/rfc822", "7bit"));
        assert_eq!(whole.text, letter);
        assert_eq!(read(b"\ntext\n", false, false).text, b"");
        assert_eq!(read(b"Subject: a", false, false).text, b"Subject: a");
    }

    #[test]
    fn a_letter_over_a_limit_comes_back_as_its_header_and_the_text_says_so() {
        let mut long = b"Subject: a\n\n".to_vec();
        while long.len() <= MAX_WHOLE {
            long.extend(b"one more line of a text\n");
        }
        let headers = read(&long, true, false);
        assert_eq!(headers.text, b"Subject: a\n");
        assert!(headers.note.contains("longer than 1048576 bytes"), "{}", headers.note);
        let lines = [&b"Subject: a\n\n"[..], &[b'x'; 999], b"\n"].concat();
        let headers = read(&lines, true, false);
        assert!(headers.note.contains("too long") && headers.text == b"Subject: a\n");
        let mut header = Vec::new();
        while header.len() <= MAX_HEADER {
            header.extend(b"X: one more field\n");
        }
        header.extend(b"\ntext\n");
        for wants_whole in [false, true] {
            let cut = read(&header, wants_whole, false);
            if wants_whole {
                assert_eq!(cut.text, header);
            } else {
                assert!(cut.text.len() <= MAX_HEADER && cut.text.ends_with(b"field\n"));
                assert!(cut.note.starts_with("The first "), "{}", cut.note);
            }
        }
    }

    #[test]
    fn bytes_beyond_ascii_come_back_where_they_may_stand_and_encoded_elsewhere() {
        let letter = "Subject: \u{fc}\n\n\u{fc}\n".as_bytes();
        let global = read(letter, false, true);
        assert_eq!((global.kind, global.encoding), ("message/global-headers", "8bit"));
        assert_eq!(read(letter, true, true).kind, "message/global");
        let encoded = read(letter, false, false);
        assert_eq!(encoded.kind, "text/rfc822-headers; charset=utf-8");
        assert_eq!(
            (encoded.encoding, &encoded.text[..]),
            ("quoted-printable", &b"Subject: =C3=BC\n"[..])
        );
        assert_eq!(read(b"Subject: \xfc\n\n", false, false).kind, "text/rfc822-headers");
        let whole = read(letter, true, false);
        assert_eq!((whole.kind, whole.encoding), ("message/rfc822", "8bit"));
        let long = [&b"Subject: "[..], &[b'x'; 5000], b"\n\n"].concat();
        assert_eq!(read(&long, false, true).encoding, "quoted-printable");
    }
}
