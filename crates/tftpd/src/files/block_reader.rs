//! Cuts a file into blocks, in either mode.

use std::io::{self, IoSliceMut, Read};

use netascii::translate::encode;

use crate::wire::request::Mode;

/// Bytes read from a file at a time in netascii: one system call for many blocks.
const BUFFER: usize = 64 * 1024;

/// A file that is cut into blocks.
#[derive(Debug)]
pub struct BlockReader<R> {
    file: R,
    /// Netascii: what was read and translated last.
    text: Option<Text>,
    reads_ahead: bool,
    size: Option<u64>,
}

/// Translated text that is waiting for the next block, from `at` on.
#[derive(Debug, Default)]
struct Text {
    read: Vec<u8>,
    text: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    /// Reads `file` from where it stands, and no sooner than a block is needed.
    pub fn new(file: R, mode: Mode) -> BlockReader<R> {
        let text = (mode == Mode::Netascii).then(Text::default);
        BlockReader { file, text, reads_ahead: false, size: None }
    }

    /// Reads a regular file, which can be read ahead because read(2) of it never waits for a
    /// writer.
    pub fn regular_file(file: R, mode: Mode) -> BlockReader<R> {
        BlockReader { reads_ahead: true, ..BlockReader::new(file, mode) }
    }

    /// Sets the bytes that will travel, where they are known: no more memory is taken than they
    /// need.
    #[must_use]
    pub fn with_size(self, size: Option<u64>) -> BlockReader<R> {
        BlockReader { size, ..self }
    }

    /// Returns what [`BlockReader::with_size`] has set.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// True where blocks may be read before they are needed.
    pub fn reads_ahead(&self) -> bool {
        self.reads_ahead
    }

    /// Fills the blocks one after the other. Returns the number of bytes, which is less than there
    /// is room for only at the end of the file.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn fill(&mut self, blocks: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut filled = 0;
        let mut rest = blocks;
        IoSliceMut::advance_slices(&mut rest, 0); // over empty ones
        while !rest.is_empty() {
            let taken = match &mut self.text {
                None => retry_on_eintr(|| self.file.read_vectored(rest))?,
                Some(text) => text.fill(&mut self.file, rest)?,
            };
            if taken == 0 {
                break;
            }
            filled += taken;
            IoSliceMut::advance_slices(&mut rest, taken);
        }
        Ok(filled)
    }
}

impl Text {
    /// Copies translated text into the first block, after reading more where there is none.
    fn fill(&mut self, file: &mut impl Read, blocks: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.read.resize(BUFFER, 0);
            let read = retry_on_eintr(|| file.read(&mut self.read))?;
            self.text.clear();
            self.at = 0;
            encode(self.read.get(..read).unwrap_or_default(), &mut self.text);
        }
        let Some(block) = blocks.first_mut() else { return Ok(0) };
        let mut waiting = self.text.get(self.at..).unwrap_or_default();
        let taken = waiting.read(block)?;
        self.at += taken;
        Ok(taken)
    }
}

/// Repeats a system call that a signal has interrupted.
fn retry_on_eintr<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Cuts `file` into blocks of `size`, two at a time; the last one is short, and perhaps empty.
    pub(in crate::files) fn cut(file: &[u8], mode: Mode, size: usize) -> Vec<Vec<u8>> {
        let mut blocks = BlockReader::new(file, mode);
        let mut all = Vec::new();
        loop {
            let mut two = vec![0; 2 * size];
            let (one, other) = two.split_at_mut(size);
            let mut parts = [IoSliceMut::new(one), IoSliceMut::new(other)];
            let filled = blocks.fill(&mut parts).unwrap();
            two.truncate(filled);
            all.extend(two.chunks(size).map(<[u8]>::to_vec));
            if filled.is_multiple_of(size) && filled < 2 * size {
                all.push(Vec::new());
            }
            if filled < 2 * size {
                return all;
            }
        }
    }

    #[test]
    fn a_file_of_whole_blocks_ends_with_an_empty_one() {
        for (length, blocks) in [(0, 1), (1, 1), (511, 1), (512, 2), (513, 2), (1024, 3)] {
            let file = vec![b'x'; length];
            let cut = cut(&file, Mode::Octet, 512);
            assert_eq!(cut.len(), blocks, "{length} bytes");
            assert_eq!(cut.concat(), file);
        }
    }

    #[test]
    fn a_pair_may_be_cut_by_the_blocks_edge() {
        assert_eq!(cut(b"abc\n", Mode::Netascii, 4), [&b"abc\r"[..], b"\n"]);
        assert_eq!(cut(b"abcd\n", Mode::Netascii, 3), [&b"abc"[..], b"d\r\n", b""]);
    }
}
