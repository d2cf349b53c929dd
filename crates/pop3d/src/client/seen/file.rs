//! The text of a file of ids.
//!
//! The first line is [`HEADER`]. A file without it is of an earlier version: `ID` for a stored message,
//! `ID NAME` for one that was about to become visible.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The first line.
pub(super) const HEADER: &[u8] = b"# pop3c 2\n";
/// Largest file read, in bytes: a million ids of 70 characters, each twice and with a name.
const MAX_FILE: u64 = 256 << 20;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The id of a stored message, and since when it is known, in seconds since 1970.
    Stored(Vec<u8>, u64),
    /// The id of a message that was about to become visible under this name.
    Pending(Vec<u8>, OsString),
}

/// Reads a file; `None` where there is none. Messages of an earlier version's file count as stored `now`.
pub(super) fn read(path: &Path, now: u64) -> io::Result<Option<Vec<Record>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut lines = BufReader::new(file.take(MAX_FILE));
    let (mut records, mut line) = (Vec::new(), Vec::new());
    let mut is_old = true;
    while lines.read_until(b'\n', &mut line)? > 0 {
        if line == HEADER {
            is_old = false;
        } else if let Some(text) = line.strip_suffix(b"\n") {
            // A truncated last line is none.
            records.extend(if is_old { Some(old_record(text, now)) } else { record(text) });
        }
        line.clear();
    }
    Ok(Some(records))
}

fn record(line: &[u8]) -> Option<Record> {
    let (kind, rest) = line.split_at_checked(2)?;
    let at = rest.iter().position(|&b| b == b' ')?;
    let (id, value) = (unescaped(rest.get(..at)?), rest.get(at + 1..)?);
    match kind {
        b"+ " => Some(Record::Stored(id, str::from_utf8(value).ok()?.parse().ok()?)),
        b"? " => Some(Record::Pending(id, OsString::from_vec(value.to_vec()))),
        _ => None,
    }
}

fn old_record(line: &[u8], now: u64) -> Record {
    match line.iter().position(|&b| b == b' ') {
        Some(at) => {
            let (id, name) = line.split_at_checked(at).unwrap_or((line, &[]));
            let name = name.get(1..).unwrap_or_default();
            Record::Pending(id.to_vec(), OsString::from_vec(name.to_vec()))
        }
        None => Record::Stored(line.to_vec(), now),
    }
}

/// The line of a stored message.
pub(super) fn stored_line(id: &[u8], since: u64) -> Vec<u8> {
    format!("+ {} {since}\n", escaped(id)).into_bytes()
}

/// The line of a message that is about to become visible under this name.
pub(super) fn pending_line(id: &[u8], name: &[u8]) -> Vec<u8> {
    [b"? ", escaped(id).as_bytes(), b" ", name, b"\n"].concat()
}

/// Escapes an id, which a server may have put blanks into.
fn escaped(id: &[u8]) -> String {
    let mut text = String::with_capacity(id.len());
    for &byte in id {
        match byte {
            b'%' => text.push_str("%25"),
            byte if byte.is_ascii_graphic() => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut id = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| str::from_utf8(code).ok());
        let byte = code.filter(|_| first == b'%').and_then(|it| u8::from_str_radix(it, 16).ok());
        id.push(byte.unwrap_or(first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back_from_its_line() {
        for id in [&b"1.a"[..], b"a b", b"%41%", b"\xff\x01%", b"100%", b"%zz"] {
            assert!(!escaped(id).contains(' '));
            let line = stored_line(id, 7);
            let read = record(line.strip_suffix(b"\n").unwrap());
            assert_eq!(read, Some(Record::Stored(id.to_vec(), 7)));
            let line = pending_line(id, b"1.x y");
            let read = record(line.strip_suffix(b"\n").unwrap());
            assert_eq!(read, Some(Record::Pending(id.to_vec(), "1.x y".into())));
        }
        for line in [&b""[..], b"+", b"+ a", b"+ a x", b"- a 1"] {
            assert_eq!(record(line), None);
        }
    }
}
