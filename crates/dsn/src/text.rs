//! Bytes of strangers as they may stand in a notification: in one line, bounded, without control characters.

/// Longest address in bytes that is shown whole; RFC 5321 §4.5.3.1.3 has 256 for a path.
const MAX_ADDRESS: usize = 320;
/// Longest text in bytes that another server's reply may take.
const MAX_SAID: usize = 512;
/// Longest value of a field in bytes: with its name, a line is no longer than a letter's may be.
const MAX_VALUE: usize = 900;
/// Longest line of a letter in bytes, without its end (RFC 5322 §2.1.1).
pub(crate) const MAX_LINE: usize = 998;

/// Whether bytes beyond ASCII may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// What is not ASCII becomes `?`.
    Ascii,
    /// Letters of all alphabets are left.
    Utf8,
}

impl Charset {
    fn visible(self, c: char) -> bool {
        match self {
            Charset::Ascii => c.is_ascii_graphic() || c == ' ',
            Charset::Utf8 => !c.is_control() && !is_format(c),
        }
    }
}

/// Returns an address as one word of a line; a blank in quotes is left.
pub(crate) fn address(bytes: &[u8], charset: Charset) -> String {
    let show = |c: char| if charset.visible(c) { c } else { '?' };
    cut(bytes, MAX_ADDRESS).chars().map(show).collect()
}

/// Returns what a server has said as one line, with one blank in the place of line ends and other white space.
pub(crate) fn said(bytes: &[u8], charset: Charset) -> String {
    let show = |c: char| match c {
        _ if c.is_whitespace() || c.is_control() => ' ',
        _ if charset.visible(c) => c,
        _ => '?',
    };
    let shown: String = cut(bytes, MAX_SAID).chars().map(show).collect();
    shown.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns the first bytes as text; what is no UTF-8 becomes `?`, so that it is not longer than the bytes were.
fn cut(bytes: &[u8], max: usize) -> String {
    let start = bytes.get(..max).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(start).replace(char::REPLACEMENT_CHARACTER, "?");
    if bytes.len() > max {
        text.push_str("...");
    }
    text
}

/// Returns the first characters of a field's value.
pub(crate) fn value(text: &str) -> &str {
    let mut ends = (0..=text.len().min(MAX_VALUE)).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Returns whether a character has no width, turns the direction of writing, or ends a line.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns what xtext stands for (RFC 3461 §4). A `+` without two digits stands for itself.
pub(crate) fn xtext_decoded(xtext: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (mut rest, mut text) = (xtext, Vec::with_capacity(xtext.len()));
    while let Some((&first, tail)) = rest.split_first() {
        let encoded = match (first, tail) {
            (b'+', [high, low, after @ ..]) => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = encoded.unwrap_or((first, tail));
        text.push(byte);
        rest = after;
    }
    text
}

/// Returns an address of type `utf-8` without its `\x{…}` (RFC 6533 §3).
pub(crate) fn unitext_decoded(text: &str) -> String {
    let mut pieces = text.split("\\x{");
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let known = piece.split_once('}').and_then(|(digits, rest)| {
            Some((u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?, rest))
        });
        match known {
            Some((c, rest)) => {
                decoded.push(c);
                decoded.push_str(rest);
            }
            None => decoded.extend(["\\x{", piece]),
        }
    }
    decoded
}

/// Returns an address of type `utf-8` in ASCII, with `\x{…}` (RFC 6533 §3).
pub(crate) fn unitext_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '+' | '=' | ' ' => encoded.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
            _ if c.is_ascii_graphic() => encoded.push(c),
            _ => encoded.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    encoded
}

/// Returns whether bytes can stand in a letter as they are: no line is too long, and none has a CR or a NUL.
pub(crate) fn has_plain_lines(text: &[u8]) -> bool {
    let is_plain =
        |line: &[u8]| line.len() <= MAX_LINE && !line.iter().any(|b| matches!(b, b'\r' | 0));
    text.split(|&b| b == b'\n').all(is_plain)
}

/// Longest line of quoted-printable in bytes (RFC 2045 §6.7).
const MAX_QUOTED_LINE: usize = 76;

/// Returns a text in quoted-printable (RFC 2045 §6.7). Its lines end in LF, before and after.
pub(crate) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive(|&b| b == b'\n') {
        let (content, end) = match line.strip_suffix(b"\n") {
            Some(content) => (content, &b"\n"[..]),
            None => (line, &b""[..]),
        };
        let mut column = 0;
        for (at, &byte) in content.iter().enumerate() {
            let is_last = at + 1 == content.len();
            let is_plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~')
                || matches!(byte, b' ' | b'\t') && !is_last;
            let width = if is_plain { 1 } else { 3 };
            if column + width >= MAX_QUOTED_LINE {
                quoted.extend(b"=\n");
                column = 0;
            }
            match is_plain {
                true => quoted.push(byte),
                false => quoted.extend(format!("={byte:02X}").bytes()),
            }
            column += width;
        }
        quoted.extend(end);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reply_of_a_stranger_makes_a_line_or_is_longer_than_its_bound() {
        let reply = b"550-5.1.1 no\r\n\r\nBcc: x\0\x1b[2J \xe2\x80\xae\xff";
        assert_eq!(said(reply, Charset::Ascii), "550-5.1.1 no Bcc: x [2J ??");
        assert_eq!(said(reply, Charset::Utf8), "550-5.1.1 no Bcc: x [2J ??");
        assert_eq!(said("nein \u{fc} \u{2028} x".as_bytes(), Charset::Utf8), "nein \u{fc} x");
        assert_eq!(said("nein \u{fc}".as_bytes(), Charset::Ascii), "nein ?");
        for byte in [b'x', 0xff] {
            assert!(said(&[byte; 100_000], Charset::Utf8).len() < 520);
            assert!(address(&[byte; 100_000], Charset::Utf8).len() < 330);
        }
        assert_eq!(address(b"\"a  b\"@c.test\r\nX: y", Charset::Ascii), "\"a  b\"@c.test??X: y");
    }

    #[test]
    fn xtext_and_unitext_are_read() {
        for (xtext, text) in [
            (&b"a+2Bb"[..], &b"a+b"[..]),
            (b"+", b"+"),
            (b"+2", b"+2"),
            (b"+zz", b"+zz"),
            (b"+0D+0A", b"\r\n"),
            (b"", b""),
        ] {
            assert_eq!(xtext_decoded(xtext), text);
        }
        assert_eq!(unitext_decoded("\\x{444}\\x{43E}@b.test"), "\u{444}\u{43e}@b.test");
        assert_eq!(unitext_decoded("\\x{zz}\\x{1"), "\\x{zz}\\x{1");
        assert_eq!(unitext_encoded("\u{444}+a@b.test"), "\\x{444}\\x{2B}a@b.test");
        assert_eq!(unitext_decoded(&unitext_encoded("\u{1f600} \\=")), "\u{1f600} \\=");
    }

    #[test]
    fn quoted_printable_has_short_lines_of_ascii() {
        let text = [&b"Subject: \xc3\xbc = 1 \nX: "[..], &[b'y'; 3000], b"\t\nZ: a\rb"].concat();
        let quoted = quoted_printable(&text);
        assert!(quoted.split(|&b| b == b'\n').all(|line| line.len() <= 76 && line.is_ascii()));
        assert!(quoted.starts_with(b"Subject: =C3=BC =3D 1=20\nX: yyy"));
        assert!(quoted.ends_with(b"=09\nZ: a=0Db"));
    }
}
