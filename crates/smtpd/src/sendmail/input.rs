//! The letter on standard input: its lines, the dot that may end it, and where its header ends.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

use crate::client::temporary_file;
use crate::sendmail::failure::{Failure, Result};
use crate::sendmail::fields::{MAX_NAME, field_name, is_folded};

/// Longest header in bytes.
const MAX_HEADER: usize = 1 << 20;
/// Bytes of the text below the header that are kept in memory; more go to a file without a name.
const MAX_IN_MEMORY: usize = 256 * 1024;
/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;
/// First line of a letter in an mbox, and of one that was quoted there: no part of the letter.
const MBOX_LINES: [&[u8]; 2] = [b"From ", b">From "];

/// A letter whose lines end in LF, with its header apart.
#[derive(Debug, Default)]
pub(super) struct Letter {
    /// Whole fields, without the empty line below them.
    pub(super) header: Vec<u8>,
    /// What is below, beginning with the empty line, if there is one.
    text: Vec<u8>,
    /// The rest of it, once it is long.
    file: Option<File>,
    /// Whether a byte over 127 was read.
    pub(super) is_eight_bit: bool,
    has_header: bool,
    /// The length of what was found to be header, while that lasts.
    scanned: usize,
}

impl Letter {
    /// Reads the letter to the end of the file, or to a line of a dot where that ends it.
    ///
    /// # Errors
    /// As read(2); no temporary file can be written; the header is too long.
    pub(super) fn read(input: &mut impl Read, ends_at_dot: bool) -> Result<Letter> {
        let (mut lines, mut letter) = (Lines::new(ends_at_dot), Letter::default());
        let (mut chunk, mut text) = (vec![0; CHUNK], Vec::new());
        while !lines.has_ended() {
            let count = match input.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io("standard input", error)),
            };
            lines.feed(chunk.get(..count).unwrap_or_default(), &mut text);
            letter.feed(&text)?;
            text.clear();
        }
        lines.finish(&mut text);
        letter.feed(&text)?;
        letter.finish()?;
        Ok(letter)
    }

    /// Takes text whose lines end in LF.
    ///
    /// # Errors
    /// As [`Letter::read`].
    pub(super) fn feed(&mut self, text: &[u8]) -> Result<()> {
        self.is_eight_bit |= !text.is_ascii();
        if self.has_header {
            return self.keep(text);
        }
        self.header.extend_from_slice(text);
        while let Some(end) = self.next_line() {
            let line = self.header.get(self.scanned..end).unwrap_or_default();
            let is_first = self.scanned == 0;
            if field_name(line).is_some() || is_folded(line) && !is_first {
                self.scanned = end;
            } else if is_first && MBOX_LINES.iter().any(|start| line.starts_with(start)) {
                self.header.drain(..end);
            } else {
                let text = self.header.split_off(self.scanned);
                self.has_header = true;
                return self.keep(&text);
            }
        }
        if self.header.len() > MAX_HEADER {
            return Err(Failure::data(format!("a header of more than {MAX_HEADER} bytes")));
        }
        Ok(())
    }

    /// Returns the end of the next line of the header, or of what is no field, however long its line is.
    fn next_line(&self) -> Option<usize> {
        let rest = self.header.get(self.scanned..)?;
        let end = rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let is_no_field = || field_name(rest).is_none() && !is_folded(rest);
        let end = end.or_else(|| (rest.len() > MAX_NAME && is_no_field()).then_some(rest.len()));
        Some(self.scanned + end?)
    }

    /// Ends the letter.
    ///
    /// # Errors
    /// As [`Letter::read`].
    pub(super) fn finish(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.has_header, true) {
            let text = self.header.split_off(self.scanned); // a line without an end
            self.keep(&text)?;
        }
        Ok(())
    }

    fn keep(&mut self, text: &[u8]) -> Result<()> {
        let broken = |error| Failure::io("temporary file", error);
        if let Some(file) = &mut self.file {
            return file.write_all(text).map_err(broken);
        }
        self.text.extend_from_slice(text);
        if self.text.len() > MAX_IN_MEMORY {
            let mut file = temporary_file().map_err(Failure::temporary)?;
            file.write_all(&std::mem::take(&mut self.text)).map_err(broken)?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// Hands out the text below the header in pieces, from its beginning.
    ///
    /// # Errors
    /// As read(2), and those of `take`.
    pub(super) fn each_piece(
        &mut self,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(file) = &mut self.file else { return take(&self.text) };
        file.seek(SeekFrom::Start(0))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => take(chunk.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Makes LF of each line end, CRLF, LF or a bare CR, and finds the line of a dot.
#[derive(Debug)]
struct Lines {
    at: Position,
    ends_at_dot: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Start,
    /// At the start of a line, after a CR: a LF belongs to it.
    AfterCr,
    /// After a dot at the start of a line, which is held back.
    Dot,
    Text,
    Ended,
}

impl Lines {
    fn new(ends_at_dot: bool) -> Lines {
        Lines { at: Position::Start, ends_at_dot }
    }

    fn has_ended(&self) -> bool {
        self.at == Position::Ended
    }

    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&first, tail)) = rest.split_first() {
            (self.at, rest) = match (self.at, first) {
                (Position::Ended, _) => return,
                (Position::AfterCr, b'\n') => (Position::Start, tail),
                (Position::Start | Position::AfterCr, b'.') if self.ends_at_dot => {
                    (Position::Dot, tail)
                }
                (Position::Dot, b'\r' | b'\n') => (Position::Ended, tail),
                (Position::Dot, _) => {
                    out.push(b'.');
                    (Position::Text, rest)
                }
                (Position::Start | Position::AfterCr | Position::Text, _) => line(rest, out),
            };
        }
    }

    /// Ends the text; its last line may have had no end.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.at == Position::Text {
            out.push(b'\n');
        }
        self.at = Position::Ended;
    }
}

/// Takes the text up to the end of its line; returns where it has come to, and the rest.
fn line<'a>(input: &'a [u8], out: &mut Vec<u8>) -> (Position, &'a [u8]) {
    let end = input.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(input.len());
    let (text, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
    out.extend_from_slice(text);
    let Some((&end, rest)) = rest.split_first() else { return (Position::Text, rest) };
    out.push(b'\n');
    (if end == b'\r' { Position::AfterCr } else { Position::Start }, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], ends_at_dot: bool) -> (String, String) {
        let mut letter = Letter::read(&mut &text[..], ends_at_dot).unwrap();
        let mut rest = Vec::new();
        let keep = |piece: &[u8]| {
            rest.extend_from_slice(piece);
            Ok(())
        };
        letter.each_piece(keep).unwrap();
        (String::from_utf8(letter.header).unwrap(), String::from_utf8(rest).unwrap())
    }

    #[test]
    fn a_letter_is_its_header_and_what_is_below() {
        for (text, header, rest) in [
            ("", "", ""),
            ("A: b\n c\n\nx\n", "A: b\n c\n", "\nx\n"),
            ("A: b\r\nC: d\r\n\r\nx\r\ny", "A: b\nC: d\n", "\nx\ny\n"),
            ("A: b\rC: d\r\rx", "A: b\nC: d\n", "\nx\n"),
            ("A: b", "A: b\n", ""),
            ("hello\nA: b\n", "", "hello\nA: b\n"),
            (" folded\n", "", " folded\n"),
            ("A: b\nhello\n\nx\n", "A: b\n", "hello\n\nx\n"),
            ("From levy Mon Nov 30 10:00:00 2026\nA: b\n\nx\n", "A: b\n", "\nx\n"),
            ("\nFrom levy\n", "", "\nFrom levy\n"),
        ] {
            assert_eq!(
                read(text.as_bytes(), true),
                (header.to_owned(), rest.to_owned()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_line_of_a_dot_ends_the_letter_where_that_is_wanted() {
        let text = b"A: b\n\n..\n.x\n .\n.\nmore\n";
        assert_eq!(read(text, true).1, "\n..\n.x\n .\n");
        assert_eq!(read(text, false).1, "\n..\n.x\n .\n.\nmore\n");
        assert_eq!(read(b"x\r\n.\r\ny\r\n", true).1, "x\n");
        assert_eq!(read(b".\n", true).1, "");
        assert_eq!(read(b"x\n.", true).1, "x\n");
    }

    #[test]
    fn the_cut_between_pieces_makes_no_difference() {
        let text = b"From x\nA: b\r\n\tc\r\r\n.x\n.\r\nno";
        let mut expected = None;
        for size in 1..text.len() {
            let (mut lines, mut letter) = (Lines::new(true), Letter::default());
            for piece in text.chunks(size) {
                let mut out = Vec::new();
                lines.feed(piece, &mut out);
                letter.feed(&out).unwrap();
            }
            letter.finish().unwrap();
            let found = (letter.header, letter.text);
            assert_eq!(*expected.get_or_insert(found.clone()), found);
        }
        assert_eq!(expected.unwrap(), (b"A: b\n\tc\n".to_vec(), b"\n.x\n".to_vec()));
    }

    #[test]
    fn a_long_letter_goes_to_a_file_and_a_long_header_is_refused() {
        let body = "x".repeat(3 * MAX_IN_MEMORY);
        let text = format!("A: b\n\n{body}\n");
        assert_eq!(read(text.as_bytes(), true), ("A: b\n".to_owned(), format!("\n{body}\n")));
        assert_eq!(read(body.as_bytes(), true).1.len(), body.len() + 1);
        let header = "A: b\n".repeat(MAX_HEADER / 5 + 1);
        assert!(Letter::read(&mut header.as_bytes(), true).is_err());
    }
}
