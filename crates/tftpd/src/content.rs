//! A file's octets on their way into blocks and out of them, in either mode.

use std::io::{self, BufReader, BufWriter, Read, Write};

use nix::errno::Errno;

use netascii::translate::{Decoder, encode};

use crate::packet::Mode;

/// Octets read from a file and written to one at a time: a few system calls for 64 KiB, not one
/// for each block.
const BUFFER: usize = 64 * 1024;

/// A file that is cut into blocks.
#[derive(Debug)]
pub struct Blocks<R> {
    file: BufReader<R>,
    mode: Mode,
    /// Translated text that is waiting for the next block, from `at` on.
    text: Vec<u8>,
    at: usize,
    octets: u64,
}

impl<R: Read> Blocks<R> {
    /// Reads `file` from where it stands.
    pub fn new(file: R, mode: Mode) -> Blocks<R> {
        let file = BufReader::with_capacity(BUFFER, file);
        Blocks { file, mode, text: Vec::new(), at: 0, octets: 0 }
    }

    /// Octets cut so far, as they travel.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Appends the next block to `packet`; tells its size, which is less than `size` only at the
    /// end of the file.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn next(&mut self, size: usize, packet: &mut Vec<u8>) -> io::Result<usize> {
        let mut room = size;
        while room > 0 {
            let taken = match self.mode {
                Mode::Octet => self.copy(room, packet)?,
                Mode::Netascii => self.translate(room, packet)?,
            };
            if taken == 0 {
                break;
            }
            room -= taken;
        }
        let filled = size - room;
        self.octets += filled as u64;
        Ok(filled)
    }

    fn copy(&mut self, room: usize, packet: &mut Vec<u8>) -> io::Result<usize> {
        let chunk = fill(&mut self.file)?;
        let taken = chunk.get(..room).unwrap_or(chunk);
        packet.extend_from_slice(taken);
        let taken = taken.len();
        self.consume(taken);
        Ok(taken)
    }

    fn consume(&mut self, octets: usize) {
        io::BufRead::consume(&mut self.file, octets);
    }

    fn translate(&mut self, room: usize, packet: &mut Vec<u8>) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.text.clear();
            self.at = 0;
            let chunk = fill(&mut self.file)?;
            let chunk = chunk.get(..room).unwrap_or(chunk);
            encode(chunk, &mut self.text);
            let taken = chunk.len();
            self.consume(taken);
        }
        let waiting = self.text.get(self.at..).unwrap_or_default();
        let taken = waiting.get(..room).unwrap_or(waiting);
        packet.extend_from_slice(taken);
        self.at += taken.len();
        Ok(taken.len())
    }
}

/// What is buffered, after reading more where nothing is; nothing at the end of the file.
fn fill<R: Read>(file: &mut BufReader<R>) -> io::Result<&[u8]> {
    while let Err(error) = io::BufRead::fill_buf(file) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(file.buffer())
}

/// A file that is put together from blocks.
#[derive(Debug)]
pub struct Assembly<W: Write> {
    file: BufWriter<W>,
    /// The decoder of a netascii transfer.
    decoder: Option<Decoder>,
    text: Vec<u8>,
    room: u64,
}

impl<W: Write> Assembly<W> {
    /// Writes to `file`, at most `max_size` octets.
    pub fn new(file: W, mode: Mode, max_size: Option<u64>) -> Assembly<W> {
        Assembly {
            file: BufWriter::with_capacity(BUFFER, file),
            decoder: (mode == Mode::Netascii).then(Decoder::new),
            text: Vec::new(),
            room: max_size.unwrap_or(u64::MAX),
        }
    }

    /// Writes one block.
    ///
    /// # Errors
    /// EFBIG when the file grows over `max_size`; otherwise those of writing.
    pub fn add(&mut self, block: &[u8]) -> io::Result<()> {
        let Some(decoder) = &mut self.decoder else {
            return put(&mut self.file, &mut self.room, block);
        };
        self.text.clear();
        decoder.feed(block, &mut self.text);
        put(&mut self.file, &mut self.room, &self.text)
    }

    /// The last block was written: gives the file back, with nothing left in a buffer.
    ///
    /// # Errors
    /// As [`Assembly::add`].
    pub fn finish(mut self) -> io::Result<W> {
        self.text.clear();
        if let Some(mut decoder) = self.decoder.take() {
            decoder.finish(&mut self.text);
        }
        put(&mut self.file, &mut self.room, &self.text)?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

fn put(file: &mut impl Write, room: &mut u64, octets: &[u8]) -> io::Result<()> {
    *room = room
        .checked_sub(octets.len() as u64)
        .ok_or_else(|| io::Error::from_raw_os_error(Errno::EFBIG as i32))?;
    file.write_all(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `file` into blocks of `size`; the last one is short, and perhaps empty.
    fn cut(file: &[u8], mode: Mode, size: usize) -> Vec<Vec<u8>> {
        let mut blocks = Blocks::new(file, mode);
        let mut all = Vec::new();
        loop {
            let mut packet = b"head".to_vec();
            let filled = blocks.next(size, &mut packet).unwrap();
            assert_eq!(packet.len(), 4 + filled);
            all.push(packet.split_off(4));
            if filled < size {
                return all;
            }
        }
    }

    fn join(blocks: &[Vec<u8>], mode: Mode, max_size: Option<u64>) -> io::Result<Vec<u8>> {
        let mut file = Assembly::new(Vec::new(), mode, max_size);
        for block in blocks {
            file.add(block)?;
        }
        file.finish()
    }

    #[test]
    fn a_file_of_whole_blocks_ends_with_an_empty_one() {
        for (length, blocks) in [(0, 1), (1, 1), (511, 1), (512, 2), (513, 2), (1024, 3)] {
            let file = vec![b'x'; length];
            let cut = cut(&file, Mode::Octet, 512);
            assert_eq!(cut.len(), blocks, "{length} octets");
            assert_eq!(cut.concat(), file);
        }
    }

    #[test]
    fn a_pair_may_be_cut_by_the_blocks_edge() {
        assert_eq!(cut(b"abc\n", Mode::Netascii, 4), [&b"abc\r"[..], b"\n"]);
        assert_eq!(cut(b"abcd\n", Mode::Netascii, 3), [&b"abc"[..], b"d\r\n", b""]);
    }

    #[test]
    fn text_comes_back_whole_at_every_block_size() {
        let text = b"\n\n\r\r\n\na\rb\nc\r\nlast\r".repeat(5);
        for size in 1..=40 {
            let blocks = cut(&text, Mode::Netascii, size);
            assert_eq!(join(&blocks, Mode::Netascii, None).unwrap(), text, "size {size}");
        }
    }

    #[test]
    fn a_file_over_its_limit_is_too_big() {
        let blocks = [b"1234".to_vec(), b"56".to_vec()];
        assert_eq!(join(&blocks, Mode::Octet, Some(6)).unwrap(), b"123456");
        let error = join(&blocks, Mode::Octet, Some(5)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EFBIG as i32));
    }

    #[test]
    fn the_limit_counts_octets_of_the_file_and_not_of_the_wire() {
        let blocks = [b"a\r\nb\r\n\r".to_vec()];
        assert_eq!(join(&blocks, Mode::Netascii, Some(5)).unwrap(), b"a\nb\n\r");
        assert!(join(&blocks, Mode::Netascii, Some(4)).is_err(), "the CR held at the end counts");
    }
}
