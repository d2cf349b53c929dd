//! The text of a letter: read once to measure it, and once for each host that it is sent to.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use netascii::dot_stuffing::Stuffer;

/// Size of one read, in bytes.
pub(crate) const PIECE: usize = 64 * 1024;

/// What is to be known of a text before it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its size in octets, as RFC 1870 §3 counts them: with CRLF, without the dots that are added. `None`: not known.
    pub octets: Option<u64>,
    /// It has bytes over 127.
    pub eight_bit: bool,
    /// Its header has bytes over 127.
    pub eight_bit_header: bool,
}

/// A text, with lines that end in LF or CRLF.
pub trait Letter {
    /// Returns what is known of it.
    fn facts(&self) -> Facts;

    /// Reads it from its beginning.
    ///
    /// # Errors
    /// As lseek(2).
    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>>;

    /// Returns what may be sent in its place to a server without 8BITMIME (RFC 6152 §3), a text without bytes over 127;
    /// `None` where there is none, and the letter is refused.
    fn in_seven_bits(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// A text in a file, from a place in it on to its end.
#[derive(Debug)]
pub struct FileLetter {
    file: File,
    start: u64,
    facts: Facts,
}

impl FileLetter {
    /// Measures the text that begins at `start`, in bytes.
    ///
    /// # Errors
    /// As read(2).
    pub fn new(mut file: File, start: u64) -> io::Result<FileLetter> {
        file.seek(SeekFrom::Start(start))?;
        let facts = Facts::of(&mut file)?;
        Ok(FileLetter { file, start, facts })
    }
}

impl Letter for FileLetter {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.file.seek(SeekFrom::Start(self.start))?;
        Ok(Box::new(&self.file))
    }
}

/// A text in memory.
impl Letter for &[u8] {
    fn facts(&self) -> Facts {
        Facts::of(&mut &**self).unwrap_or_default() // reading memory does not fail
    }

    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(*self))
    }
}

impl Facts {
    /// Measures a text to its end.
    ///
    /// # Errors
    /// As read(2).
    pub fn of(text: &mut dyn Read) -> io::Result<Facts> {
        let mut stuffer = Stuffer::bare_cr_to_crlf();
        let (mut facts, mut header, mut out) = (Facts::default(), Header::default(), Vec::new());
        each_piece(text, |piece| {
            if !piece.is_ascii() {
                facts.eight_bit = true;
            }
            facts.eight_bit_header |= header.has_eight_bit(piece);
            stuffer.feed(piece, &mut out);
            out.clear();
            Ok::<(), io::Error>(())
        })?;
        stuffer.finish(&mut out);
        facts.octets = Some(stuffer.octets());
        Ok(facts)
    }
}

/// Reads a text to its end, and hands out its pieces in order; none is empty.
pub(crate) fn each_piece<E: From<io::Error>>(
    text: &mut dyn Read,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut piece = vec![0; PIECE];
    loop {
        match text.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where a header ends: at its first empty line.
#[derive(Debug, Default)]
struct Header {
    /// Bytes of the line so far, without CR.
    line: usize,
    is_over: bool,
}

impl Header {
    /// Takes the next piece; returns whether the header has bytes over 127 in it.
    fn has_eight_bit(&mut self, piece: &[u8]) -> bool {
        for &byte in piece {
            match byte {
                _ if self.is_over => return false,
                b'\n' if self.line == 0 => self.is_over = true,
                b'\n' => self.line = 0,
                b'\r' => {}
                128.. => return true,
                _ => self.line += 1,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &[u8]) -> (u64, bool, bool) {
        let Facts { octets, eight_bit, eight_bit_header } = text.facts();
        (octets.unwrap(), eight_bit, eight_bit_header)
    }

    #[test]
    fn a_text_is_measured_as_it_will_be_sent() {
        assert_eq!(facts(b""), (0, false, false));
        assert_eq!(facts(b"a\n.\nend"), (3 + 3 + 5, false, false));
        assert_eq!(facts(b"a\rb\r\n"), (6, false, false));
        assert_eq!(facts(b"A: b\n\ngr\xc3\xbcn\n"), (6 + 2 + 7, true, false));
        assert_eq!(facts(b"A: \xc3\xbc\r\n\r\nx\n"), (7 + 2 + 3, true, true));
        assert_eq!(facts(b"\n\xc3\xbc"), (2 + 4, true, false));
    }

    #[test]
    fn where_a_text_is_cut_makes_no_difference() {
        let text = b"A: b\r\nC: \xc3\xbc\r\n\r\n\xc3\xbc\n";
        for (text, expected) in [(&text[..], true), (b"A: b\r\n\r\n\xc3\xbc", false)] {
            for cut in 0..=text.len() {
                let mut header = Header::default();
                let (one, two) = text.split_at(cut);
                let found = [header.has_eight_bit(one), header.has_eight_bit(two)];
                assert_eq!(found.contains(&true), expected, "{cut}");
            }
        }
    }

    #[test]
    fn a_file_is_read_from_its_place_as_often_as_needed() {
        let dir = testkit::TempDir::new();
        let path = dir.file("letter", "envelope\n\nA: b\n\ntext\n");
        let mut letter = FileLetter::new(File::open(path).unwrap(), 10).unwrap();
        assert_eq!(letter.facts().octets, Some(6 + 2 + 6));
        for _ in 0..2 {
            let mut text = String::new();
            letter.reader().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "A: b\n\ntext\n");
        }
    }
}
