//! Cuts a file into blocks, in either mode.

use std::io::{self, IoSliceMut, Read};

use netascii::translate::encode;

use crate::wire::request::Mode;

/// Bytes per read(2) in netascii; one system call fills many blocks.
const BUFFER: usize = 64 * 1024;

/// A file to be cut into blocks.
#[derive(Debug)]
pub struct BlockReader<R> {
    file: R,
    /// Netascii only: the text that was read and encoded last.
    text: Option<Text>,
    reads_ahead: bool,
    size: Option<u64>,
}

/// Encoded text; the bytes from `at` on go into the next block.
#[derive(Debug, Default)]
struct Text {
    read: Vec<u8>,
    text: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    /// Reads `file` from its current offset, and only when a block is needed.
    pub fn new(file: R, mode: Mode) -> BlockReader<R> {
        let text = (mode == Mode::Netascii).then(Text::default);
        BlockReader { file, text, reads_ahead: false, size: None }
    }

    /// Reads a regular file. It can be read ahead because its read(2) never waits for a writer.
    pub fn regular_file(file: R, mode: Mode) -> BlockReader<R> {
        BlockReader { reads_ahead: true, ..BlockReader::new(file, mode) }
    }

    /// Sets the size on the wire, if known, so that no more memory than needed is allocated.
    #[must_use]
    pub fn with_size(self, size: Option<u64>) -> BlockReader<R> {
        BlockReader { size, ..self }
    }

    /// Returns the size set by [`BlockReader::with_size`].
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns whether blocks may be read before they are needed.
    pub fn reads_ahead(&self) -> bool {
        self.reads_ahead
    }

    /// Fills the blocks in order. Returns the number of bytes, which is less than the blocks' size
    /// only at the end of the file.
    ///
    /// # Errors
    /// Reading the file fails.
    pub fn fill(&mut self, blocks: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut filled = 0;
        let mut rest = blocks;
        IoSliceMut::advance_slices(&mut rest, 0); // skips empty blocks
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
    /// Copies encoded text into the first block, after reading more if none is left.
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

/// Repeats a system call that a signal interrupted.
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
