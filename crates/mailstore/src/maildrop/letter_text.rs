//! The text of a letter, read piece by piece.

use std::fs::File;
use std::io::{self, Read};

use crate::compression::Unpacked;
use crate::mbox::letter::MboxText;

/// The text of a letter, which is read from its beginning to its end. Line ends are those of the disk.
#[derive(Debug)]
pub struct LetterText {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A file that is the letter, and the bytes of it that are left: its end needs no read(2) to be found.
    File(File, u64),
    /// A part of an mbox.
    Mbox(Box<MboxText>),
    /// One that is packed with gzip.
    Packed(Box<Unpacked>),
}

impl LetterText {
    /// The text of a letter that is a file of this many bytes. What is written after them meanwhile is not read.
    pub(crate) fn file(file: File, bytes: u64) -> LetterText {
        LetterText { source: Source::File(file, bytes) }
    }

    /// The text of a letter that is packed with gzip.
    pub(crate) fn packed(file: File) -> LetterText {
        LetterText { source: Source::Packed(Box::new(Unpacked::new(file))) }
    }
}

impl From<MboxText> for LetterText {
    fn from(text: MboxText) -> LetterText {
        LetterText { source: Source::Mbox(Box::new(text)) }
    }
}

impl Read for LetterText {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::File(_, 0) => Ok(0),
            Source::File(file, left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(into.len());
                let count = file.read(into.get_mut(..most).unwrap_or_default())?;
                *left -= count as u64;
                Ok(count)
            }
            Source::Mbox(text) => text.read(into),
            Source::Packed(text) => text.read(into),
        }
    }
}
