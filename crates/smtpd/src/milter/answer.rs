//! What a filter answers, checked: it has read strangers' letters, and may have been taken over by one.

use std::io;

use crate::milter::packet::malformed;
use crate::protocol::reply::Reply;

/// Longest name of a field in bytes.
const MAX_NAME: usize = 256;
/// Longest value of a field in bytes.
const MAX_VALUE: usize = 64 * 1024;
/// Most lines of a reply, a number.
const MAX_LINES: usize = 20;
/// Longest line of a reply in bytes; the reply cuts it to that of RFC 5321 §4.5.3.1.5.
const MAX_LINE: usize = 480;

/// A change of a letter's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A field at the end.
    Add {
        /// Its name.
        name: String,
        /// Its value, with LF and white space where it is folded.
        value: Vec<u8>,
    },
    /// A field at a place.
    Insert {
        /// The number of fields above it, our own among them.
        above: usize,
        /// Its name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
    /// Another value for a field; an empty one removes it.
    Change {
        /// Which of those with this name, from 1.
        number: usize,
        /// Its name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
}

/// What a filter has agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Version of the protocol.
    pub version: u32,
    /// What it may change.
    pub actions: u32,
    /// The steps that it wants to be left out, or does not answer.
    pub steps: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The answer to the first packet.
    Options(Options),
    /// Go on.
    Continue,
    /// Take it, and ask no more about it.
    Accept,
    /// Take it, and throw it away.
    Discard,
    /// Refuse it by this reply.
    Refuse(Reply),
    /// No more of the same step.
    Skip,
    /// It works on.
    Progress,
    /// Change the header.
    Edit(Edit),
    /// A piece of a new body.
    Body(Vec<u8>),
    /// Keep it back, for this reason.
    Quarantine(String),
    /// What was not offered: other recipients, another sender.
    NotOffered(u8),
}

/// Reads an answer.
///
/// # Errors
/// `InvalidData` for one that is malformed or unknown.
pub fn parse(command: u8, data: Vec<u8>) -> io::Result<Answer> {
    Ok(match command {
        b'O' => Answer::Options(options(&data)?),
        b'c' => Answer::Continue,
        b'a' => Answer::Accept,
        b'd' => Answer::Discard,
        b's' => Answer::Skip,
        b'p' => Answer::Progress,
        b'r' => Answer::Refuse(Reply::new(550, "5.7.1", "Refused by a filter")),
        b't' => Answer::Refuse(Reply::new(451, "4.7.1", "Put off by a filter, try again later")),
        b'f' => Answer::Refuse(Reply::new(451, "4.7.1", "A filter cannot work now")),
        b'y' => Answer::Refuse(reply(&data)?),
        b'h' => {
            let (name, value) = field(&data)?;
            Answer::Edit(Edit::Add { name, value })
        }
        b'i' => {
            let (above, rest) = number(&data)?;
            let (name, value) = field(rest)?;
            Answer::Edit(Edit::Insert { above, name, value })
        }
        b'm' => {
            let (number, rest) = number(&data)?;
            let (name, value) = field(rest)?;
            Answer::Edit(Edit::Change { number, name, value })
        }
        b'b' => Answer::Body(data),
        b'q' => {
            let reason = data.split(|&byte| byte == 0).next().unwrap_or_default();
            Answer::Quarantine(printable(reason.get(..MAX_LINE).unwrap_or(reason)))
        }
        b'+' | b'2' | b'-' | b'e' | b'l' => Answer::NotOffered(command),
        _ => return Err(malformed("an unknown answer")),
    })
}

fn options(data: &[u8]) -> io::Result<Options> {
    let mut numbers = data.chunks_exact(4).map(|it| {
        let four: [u8; 4] = it.try_into().unwrap_or_default();
        u32::from_be_bytes(four)
    });
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(version), Some(actions), Some(steps)) => Ok(Options { version, actions, steps }),
        _ => Err(malformed("options that are cut")),
    }
}

fn number(data: &[u8]) -> io::Result<(usize, &[u8])> {
    let (number, rest) = data.split_first_chunk().ok_or_else(|| malformed("a number is cut"))?;
    Ok((usize::try_from(u32::from_be_bytes(*number)).unwrap_or(usize::MAX), rest))
}

/// Reads a name and a value, each with a NUL after it.
fn field(data: &[u8]) -> io::Result<(String, Vec<u8>)> {
    let mut parts = data.split(|&byte| byte == 0);
    let (name, value) = (parts.next().unwrap_or_default(), parts.next());
    let is_name = |byte: &u8| matches!(byte, 33..=57 | 59..=126); // RFC 5322 §2.2
    if name.is_empty() || name.len() > MAX_NAME || !name.iter().all(is_name) {
        return Err(malformed("a field whose name is none"));
    }
    let value = value.filter(|_| parts.next().is_some());
    let value = value.ok_or_else(|| malformed("a field that is cut"))?;
    if value.len() > MAX_VALUE {
        return Err(malformed("a field that is too long"));
    }
    let name = name.iter().copied().map(char::from).collect();
    Ok((name, folded(value)))
}

/// Returns a value that stays one field whatever it holds: each line but the first begins with white space, none is
/// empty, and lines end in LF.
fn folded(value: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(value.len());
    for line in value.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii_end();
        if folded.is_empty() {
            folded.extend_from_slice(line);
        } else if !line.is_empty() {
            folded.push(b'\n');
            if !matches!(line.first(), Some(b' ' | b'\t')) {
                folded.push(b'\t');
            }
            folded.extend_from_slice(line);
        }
    }
    folded
}

/// Reads the reply that a filter has chosen: `550 5.7.1 text`, or several such lines.
fn reply(data: &[u8]) -> io::Result<Reply> {
    let text = data.split(|&byte| byte == 0).next().unwrap_or_default();
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut reply: Option<Reply> = None;
    for line in lines.filter(|line| !line.is_empty()).take(MAX_LINES) {
        let (code, rest) = line.split_at_checked(3).unwrap_or((line, &[]));
        let code: Option<u16> = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok());
        let code = code.filter(|code| (400..600).contains(code));
        let code = code.ok_or_else(|| malformed("a reply without a code"))?;
        // We do not close the connection, as 421 would say (RFC 5321 §3.8).
        let code = if code == 421 { 451 } else { code };
        let rest = rest.get(1..).unwrap_or_default();
        let text = with_status(code, &printable(rest.get(..MAX_LINE).unwrap_or(rest)));
        reply = Some(match reply {
            None => Reply::plain(code, text),
            Some(reply) => reply.and(text),
        });
    }
    reply.ok_or_else(|| malformed("a reply without a line"))
}

/// Adds an enhanced status code (RFC 2034 §4) to a text that has none.
fn with_status(code: u16, text: &str) -> String {
    let status = text.split(' ').next().unwrap_or_default();
    let mut numbers = status.split('.');
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let has_status = numbers.next() == Some(if code < 500 { "4" } else { "5" })
        && numbers.clone().count() == 2
        && numbers.all(is_number);
    match has_status {
        true => text.to_owned(),
        false => format!("{}.7.1 {text}", code / 100),
    }
}

fn printable(text: &[u8]) -> String {
    text.iter().map(|&byte| if matches!(byte, 32..=126) { char::from(byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(data: &[u8]) -> Vec<String> {
        match parse(b'y', data.to_vec()) {
            Ok(Answer::Refuse(reply)) => reply.lines().collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_of_a_filter_has_a_code_a_status_and_nothing_that_ends_a_line() {
        assert_eq!(lines(b"550 5.7.1 No\0"), ["550 5.7.1 No"]);
        assert_eq!(lines(b"450 later\r\n\0x"), ["450 4.7.1 later"]);
        assert_eq!(lines(b"554 5.7.x odd\x1b\r\0"), ["554 5.7.1 5.7.x odd?"]);
        assert_eq!(lines(b"550-5.7.1 One\r\n550 5.7.1 two\0"), ["550-5.7.1 One", "550 5.7.1 two"]);
        assert_eq!(lines(b"421 4.7.0 Go\0"), ["451 4.7.0 Go"]);
        for bad in [&b""[..], b"\0", b"250 OK\0", b"55", b"abc no\0", b"\xff\xff\xff"] {
            assert!(parse(b'y', bad.to_vec()).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_field_of_a_filter_stays_one_field() {
        let value = |data: &[u8]| match parse(b'h', data.to_vec()) {
            Ok(Answer::Edit(Edit::Add { value, .. })) => String::from_utf8(value).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(value(b"A\0b\0"), "b");
        assert_eq!(value(b"A\0b\r\n\tc\n d\0"), "b\n\tc\n d");
        assert_eq!(value(b"A\0b\r\nEvil: yes\r\n\r\nbody\0"), "b\n\tEvil: yes\n\tbody");
        assert_eq!(value(b"A\0b\rc\0"), "b\n\tc");
        assert_eq!(value(b"A\0\0"), "");
        for bad in [&b""[..], b"A", b"A\0", b"A\0b", b"\0b\0", b"A:\0b\0", b"A b\0c\0", b"A\n\0b\0"]
        {
            assert!(parse(b'h', bad.to_vec()).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn numbers_stand_before_a_field_and_what_is_cut_is_refused() {
        let edit = Edit::Insert { above: 1, name: "A".into(), value: b"b".to_vec() };
        assert_eq!(parse(b'i', b"\0\0\0\x01A\0b\0".to_vec()).unwrap(), Answer::Edit(edit));
        let edit = Edit::Change { number: 2, name: "A".into(), value: vec![] };
        assert_eq!(parse(b'm', b"\0\0\0\x02A\0\0".to_vec()).unwrap(), Answer::Edit(edit));
        assert!(parse(b'i', b"\0\0\0".to_vec()).is_err());
        assert!(parse(b'O', vec![0; 11]).is_err());
        let all = Options { version: 6, actions: 1, steps: 0 };
        let data = b"\0\0\0\x06\0\0\0\x01\0\0\0\0".to_vec();
        assert_eq!(parse(b'O', data).unwrap(), Answer::Options(all));
        assert!(parse(b'?', vec![]).is_err());
    }
}
