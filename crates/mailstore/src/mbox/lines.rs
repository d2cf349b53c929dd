//! The lines of a part of a file, read by pread(2).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use memchr::memchr;

use crate::mbox::format::DECIDING;

/// Size of one read in bytes.
const CHUNK: usize = 128 * 1024;

/// A line, or a piece of one that is longer than a read.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Its place in the file.
    pub(crate) offset: u64,
    /// Its bytes with its end. The first piece of a line has at least [`DECIDING`] bytes, unless the line
    /// is shorter.
    pub(crate) bytes: &'a [u8],
    /// It is no later piece.
    pub(crate) is_start: bool,
}

/// Reads the lines of a part of a file.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    file: &'a File,
    /// What was not read yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// What was read and not returned yet, in the buffer.
    unused: Range<usize>,
    /// The next bytes begin a line.
    is_start: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: &'a File, part: Range<u64>) -> Lines<'a> {
        Lines { file, rest: part, buffer: vec![0; CHUNK], unused: 0..0, is_start: true }
    }

    /// Returns the next line.
    ///
    /// # Errors
    /// As pread(2); `UnexpectedEof` where the file has become shorter.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let length = loop {
            let unused = self.buffer.get(self.unused.clone()).unwrap_or_default();
            if let Some(end) = memchr(b'\n', unused) {
                break end + 1;
            }
            let is_decided = !self.is_start || unused.len() >= DECIDING;
            if self.rest.is_empty() {
                break unused.len();
            }
            if is_decided && self.unused.len() >= CHUNK / 2 {
                // A CR stays together with the LF that may follow.
                break unused.len() - usize::from(unused.ends_with(b"\r"));
            }
            self.fill()?;
        };
        if length == 0 {
            return Ok(None);
        }
        let offset = self.rest.start - self.unused.len() as u64;
        let used = self.unused.start..self.unused.start + length;
        self.unused.start += length;
        let bytes = self.buffer.get(used).unwrap_or_default();
        let is_start = std::mem::replace(&mut self.is_start, bytes.ends_with(b"\n"));
        Ok(Some(Line { offset, bytes, is_start }))
    }

    /// Reads more after what is not used.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.unused.clone(), 0);
        self.unused = 0..self.unused.len();
        let room = self.buffer.get_mut(self.unused.end..).unwrap_or_default();
        let most = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let room = room.split_at_mut(most.min(room.len())).0;
        let count = read_at(self.file, room, self.rest.start)?;
        self.unused.end += count;
        self.rest.start += count as u64;
        Ok(())
    }
}

/// Reads some bytes at a place where the file has some.
///
/// # Errors
/// As pread(2); `UnexpectedEof` where the file has become shorter.
pub(crate) fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, at) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
