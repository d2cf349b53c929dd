//! A letter whose header holds UTF-8 (RFC 6532), for a client that has not said UTF8: it gets a surrogate (RFC 6856
//! §2.1, §4), whose header says the same in encoded words (RFC 2047). The body is sent as it is.
//!
//! What is encoded is a word or a quoted string with its neighbours, so that a display name remains one. An address
//! that is not in ASCII cannot be written without UTF-8: it becomes the name of an empty group (RFC 6854), which
//! can be read and not be written to. A header that is no UTF-8 is in a charset that it does not tell, as it always was:
//! UTF8 does not change it, so it is sent as it is.

use std::str::from_utf8;

/// What is sent of the beginning of a letter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Surrogate {
    /// What is stored.
    Needless,
    /// This text in place of the first bytes, as many as the number says.
    Header(usize, Vec<u8>),
    /// The header is too long.
    TooLong,
}

/// Longest encoded word in bytes (RFC 2047 §2).
const MAX_WORD: usize = 75;
/// The start and the end of an encoded word.
const WORD: (&str, &str) = ("=?utf-8?q?", "?=");
/// Fields of addresses, in which quoted strings and comments are units.
const OF_ADDRESSES: [&str; 14] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "sender",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "resent-sender",
    "mail-followup-to",
    "disposition-notification-to",
    "return-path",
];

impl Surrogate {
    /// Looks at the beginning of a letter, which is all of it if `is_whole`.
    pub(crate) fn of(start: &[u8], is_whole: bool) -> Surrogate {
        if start.is_ascii() || !begins_with_field(start) {
            return Surrogate::Needless;
        }
        let end = header_end(start);
        let header = start.get(..end.unwrap_or(start.len())).unwrap_or_default();
        if header.is_ascii() {
            return Surrogate::Needless;
        }
        match (from_utf8(header), end) {
            (Ok(text), Some(_)) => Surrogate::Header(header.len(), encoded(text).into_bytes()),
            (Ok(text), None) if is_whole => {
                Surrogate::Header(header.len(), encoded(text).into_bytes())
            }
            (Err(error), None) if !is_whole && error.error_len().is_none() => Surrogate::TooLong,
            (Ok(_), None) => Surrogate::TooLong,
            (Err(_), _) => Surrogate::Needless,
        }
    }
}

/// Returns whether the first line is a field: a letter without a header is no mail, and is left alone.
fn begins_with_field(start: &[u8]) -> bool {
    let name = start.split(|byte| *byte == b':').next().unwrap_or_default();
    !name.is_empty() && name.len() < start.len() && name.iter().all(u8::is_ascii_graphic)
}

/// Returns where the blank line ends that ends the header.
fn header_end(start: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in start.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(at);
        }
    }
    None
}

/// Encodes a header.
fn encoded(header: &str) -> String {
    let mut out = String::with_capacity(header.len() * 2);
    let mut kind = Field::Text;
    for line in header.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        let end = line.get(text.len()..).unwrap_or_default();
        let (name, rest) = match text.split_once(':') {
            Some((name, _)) if !text.starts_with([' ', '\t']) => {
                kind = Field::of(name);
                text.split_at(name.len() + 1)
            }
            _ => ("", text),
        };
        // No field's name is anything but ASCII (RFC 6532 §3.2 leaves it so).
        out.extend(name.chars().map(|c| if c.is_ascii() { c } else { '?' }));
        if rest.is_ascii() {
            out.push_str(rest);
        } else {
            encode_line(rest, kind, if end.is_empty() { "\n" } else { end }, &mut out);
        }
        out.push_str(end);
    }
    out
}

/// What a field is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Text,
    Addresses,
    /// `Content-Type` and its like: `name="value"`.
    Parameters,
}

impl Field {
    fn of(name: &str) -> Field {
        let name = name.trim_end().to_ascii_lowercase();
        match name.as_str() {
            name if OF_ADDRESSES.contains(&name) => Field::Addresses,
            "content-type" | "content-disposition" => Field::Parameters,
            _ => Field::Text,
        }
    }
}

/// Encodes the units of a line that are not ASCII, together where nothing else is between them.
fn encode_line(line: &str, kind: Field, end: &str, out: &mut String) {
    let units = units(line, kind);
    let mut at = 0;
    while let Some(&(start, stop)) = units.get(at) {
        let unit = line.get(start..stop).unwrap_or_default();
        let gap_from = at.checked_sub(1).and_then(|before| units.get(before)).map_or(0, |it| it.1);
        out.push_str(line.get(gap_from..start).unwrap_or_default());
        at += 1;
        if unit.is_ascii() {
            out.push_str(unit);
            continue;
        }
        let mut stop = stop;
        // An address list's comma ends what belongs together.
        while kind != Field::Parameters
            && !line.get(..stop).unwrap_or_default().ends_with([',', ';'])
            && let Some(&(next, next_stop)) = units.get(at)
            && !line.get(next..next_stop).unwrap_or_default().is_ascii()
        {
            (stop, at) = (next_stop, at + 1);
        }
        encode_unit(line.get(start..stop).unwrap_or_default(), kind, end, out);
    }
    let last = units.last().map_or(0, |it| it.1);
    out.push_str(line.get(last..).unwrap_or_default());
}

/// Splits a line at its blanks; in a field with quoted strings and comments, at those outside of them.
fn units(line: &str, kind: Field) -> Vec<(usize, usize)> {
    let (mut units, mut start) = (Vec::new(), None);
    let (mut is_quoted, mut is_escaped, mut comments) = (false, false, 0_u32);
    for (at, c) in line.char_indices() {
        if kind != Field::Text {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' if comments == 0 => is_quoted = !is_quoted,
                '(' if !is_quoted => comments += 1,
                ')' if !is_quoted => comments = comments.saturating_sub(1),
                _ => {}
            }
        }
        let is_blank = matches!(c, ' ' | '\t') && !is_quoted && comments == 0;
        match (start, is_blank) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                units.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    units.extend(start.map(|from| (from, line.len())));
    units
}

/// Encodes what belongs together.
fn encode_unit(unit: &str, kind: Field, end: &str, out: &mut String) {
    let fold = format!("{end} ");
    match kind {
        Field::Text => words(unit, &fold, out),
        Field::Parameters => {
            let (name, value) = unit.split_once('=').unwrap_or(("", unit));
            let bare = value.trim_end_matches(';');
            let tail = value.get(bare.len()..).unwrap_or_default();
            let bare = bare.strip_prefix('"').map_or(bare, |it| it.strip_suffix('"').unwrap_or(it));
            out.extend(name.chars().map(|c| if c.is_ascii() { c } else { '?' }));
            out.push_str(if name.is_empty() { "\"" } else { "=\"" });
            words(bare, " ", out);
            out.push('"');
            out.push_str(tail);
        }
        Field::Addresses => {
            let bare = unit.trim_end_matches([',', ';']);
            let tail = unit.get(bare.len()..).unwrap_or_default();
            let inside =
                |open, close| bare.strip_prefix(open).and_then(|it| it.strip_suffix(close));
            if let Some(comment) = inside('(', ')') {
                out.push('(');
                words(comment, &fold, out);
                out.push(')');
            } else {
                words(inside('"', '"').unwrap_or(bare), &fold, out);
                if bare.contains('@') {
                    out.push_str(" :;");
                }
            }
            out.push_str(tail);
        }
    }
}

/// Writes encoded words, each a whole number of characters (RFC 2047 §5), with `between` between them.
fn words(text: &str, between: &str, out: &mut String) {
    let room = MAX_WORD - WORD.0.len() - WORD.1.len();
    let mut word = String::new();
    let mut is_first = true;
    let mut write = |word: &mut String| {
        if !is_first {
            out.push_str(between);
        }
        is_first = false;
        out.extend([WORD.0, word, WORD.1]);
        word.clear();
    };
    let mut utf8 = [0; 4];
    for c in text.chars() {
        let sign: String = match c {
            ' ' => "_".to_owned(),
            c if c.is_ascii_alphanumeric() => c.to_string(),
            c => c.encode_utf8(&mut utf8).bytes().map(|byte| format!("={byte:02X}")).collect(),
        };
        if word.len() + sign.len() > room {
            write(&mut word);
        }
        word.push_str(&sign);
    }
    if !word.is_empty() {
        write(&mut word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surrogate(header: &str) -> String {
        let letter = format!("{header}\n\nBody: ü\n");
        match Surrogate::of(letter.as_bytes(), true) {
            Surrogate::Header(used, text) => {
                assert_eq!(used, header.len() + 2);
                let text = String::from_utf8(text).unwrap();
                assert!(text.is_ascii(), "{text}");
                text.strip_suffix("\n\n").unwrap().to_owned()
            }
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn words_that_are_not_ascii_become_encoded_words() {
        for (header, expected) in [
            ("Subject: Grüße", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?="),
            (
                "Subject: so  schöne Grüße an alle",
                "Subject: so  =?utf-8?q?sch=C3=B6ne_Gr=C3=BC=C3=9Fe?= an alle",
            ),
            ("Subject: a\n ü\nTo: b", "Subject: a\n =?utf-8?q?=C3=BC?=\nTo: b"),
            (
                "From: Jürgen Müller <j@x.test>",
                "From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <j@x.test>",
            ),
            (
                "From: \"Müller, J. Q.\" <j@x.test>",
                "From: =?utf-8?q?M=C3=BCller=2C_J=2E_Q=2E?= <j@x.test>",
            ),
            ("From: j@x.test (Jürgen M)", "From: j@x.test (=?utf-8?q?J=C3=BCrgen_M?=)"),
            (
                "To: a@x.test, <jürgen@x.test>, b@x.test",
                "To: a@x.test, =?utf-8?q?=3Cj=C3=BCrgen=40x=2Etest=3E?= :;, b@x.test",
            ),
            (
                "Content-Type: text/plain; name=\"ü b.txt\"; x=y",
                "Content-Type: text/plain; name=\"=?utf-8?q?=C3=BC_b=2Etxt?=\"; x=y",
            ),
            ("X-Ö: a", "X-?: a"),
        ] {
            // The first line of a letter has a name in ASCII.
            let header = format!("A: b\n{header}");
            assert_eq!(surrogate(&header), format!("A: b\n{expected}"));
        }
    }

    #[test]
    fn an_encoded_word_is_short_and_whole_and_lines_stay_within_the_limit() {
        let text = surrogate(&format!("Subject: {}", "ü€a".repeat(400)));
        let mut decoded = Vec::new();
        for line in text.lines() {
            let word = line.strip_prefix("Subject:").unwrap_or(line).trim_start();
            assert!(word.len() <= MAX_WORD && line.len() <= 85, "{line}");
            let inner = word.strip_prefix(WORD.0).and_then(|it| it.strip_suffix(WORD.1)).unwrap();
            let mut bytes = inner.bytes();
            let start = decoded.len();
            while let Some(byte) = bytes.next() {
                let mut digit = || (bytes.next().unwrap() as char).to_digit(16).unwrap() as u8;
                decoded.push(if byte == b'=' { digit() * 16 + digit() } else { byte });
            }
            assert!(from_utf8(&decoded[start..]).is_ok(), "{line}");
        }
        assert_eq!(from_utf8(&decoded).unwrap(), "ü€a".repeat(400));
    }

    #[test]
    fn what_needs_no_utf8_is_left_alone() {
        for letter in [
            &b"A: b\n\nBody: \xc3\xbc\n"[..],
            b"A: \xfc\n\nlatin1\n",
            b"\xc3\xbc no header\n\nx",
            b"no field \xc3\xbc\n\nx",
            b"\n\xc3\xbc",
            b"",
        ] {
            assert_eq!(
                Surrogate::of(letter, true),
                Surrogate::Needless,
                "{}",
                letter.escape_ascii()
            );
        }
        assert_eq!(
            Surrogate::of(b"A: \xc3\xbc\r\n", true),
            Surrogate::Header(7, b"A: =?utf-8?q?=C3=BC?=\r\n".to_vec())
        );
        assert_eq!(Surrogate::of(b"A: \xc3\xbc\n", false), Surrogate::TooLong);
        assert_eq!(Surrogate::of(b"A: \xc3", false), Surrogate::TooLong);
    }
}
