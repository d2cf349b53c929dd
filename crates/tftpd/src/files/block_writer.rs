//! Assembles a file from blocks, in either mode.

use std::io::{self, Write};

use netascii::translate::Decoder;

use super::size_limit::SizeLimit;
use crate::wire::request::Mode;

/// Bytes per write(2), at offsets that are a multiple of it. The page cache then uses one large
/// folio, which is more than twice as fast.
const CHUNK: usize = 64 * 1024;
/// Most bytes buffered. More than one chunk, so that a chunk can be written while the peer is busy
/// and the transfer does not wait for the disk.
const MAX_BUFFERED: usize = 4 * CHUNK;

/// A file being assembled from blocks.
#[derive(Debug)]
pub struct BlockWriter<W: Write> {
    file: W,
    /// Received bytes that are not written yet.
    buffer: Vec<u8>,
    /// The decoder of a netascii transfer.
    decoder: Option<Decoder>,
    text: Vec<u8>,
    limit: SizeLimit,
}

impl<W: Write> BlockWriter<W> {
    /// Writes to `file`, up to the limit.
    pub fn new(file: W, mode: Mode, limit: SizeLimit) -> BlockWriter<W> {
        BlockWriter {
            file,
            buffer: Vec::new(),
            decoder: (mode == Mode::Netascii).then(Decoder::new),
            text: Vec::new(),
            limit,
        }
    }

    /// Buffers one block. [`BlockWriter::write_chunks`] writes it, or this function when the buffer
    /// is full.
    ///
    /// # Errors
    /// The file is over its limit, or write(2) fails.
    pub fn add(&mut self, block: &[u8]) -> io::Result<()> {
        let Some(decoder) = &mut self.decoder else { return self.buffer(block) };
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        decoder.feed(block, &mut text);
        let buffered = self.buffer(&text);
        self.text = text;
        buffered
    }

    fn buffer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.limit.take(bytes.len() as u64)?;
        if self.buffer.len() + bytes.len() > MAX_BUFFERED {
            self.write_chunks()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes the complete chunks in the buffer. Returns whether there were any.
    ///
    /// # Errors
    /// write(2) fails.
    pub fn write_chunks(&mut self) -> io::Result<bool> {
        let whole = self.buffer.len() / CHUNK * CHUNK;
        let Some(chunks) = self.buffer.get(..whole).filter(|chunks| !chunks.is_empty()) else {
            return Ok(false);
        };
        self.file.write_all(chunks)?;
        self.buffer.drain(..whole);
        Ok(true)
    }

    /// Finishes the file after the last block: writes the rest and returns the file.
    ///
    /// # Errors
    /// As [`BlockWriter::add`].
    pub fn finish(mut self) -> io::Result<W> {
        let mut text = Vec::new();
        if let Some(mut decoder) = self.decoder.take() {
            decoder.finish(&mut text);
        }
        self.buffer(&text)?;
        self.file.write_all(&self.buffer)?;
        self.file.flush()?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_reader::tests::cut;
    use super::*;
    use nix::errno::Errno;

    fn join(blocks: &[Vec<u8>], mode: Mode, max_size: Option<u64>) -> io::Result<Vec<u8>> {
        let mut file = BlockWriter::new(Vec::new(), mode, SizeLimit::new(max_size));
        for block in blocks {
            file.add(block)?;
        }
        file.finish()
    }

    #[test]
    fn text_comes_back_whole_at_every_block_size() {
        let text = b"\n\n\r\r\n\na\rb\nc\r\nlast\r".repeat(5);
        for size in 1..=40 {
            let blocks = cut(&text, Mode::Netascii, size);
            assert_eq!(join(&blocks, Mode::Netascii, None).unwrap(), text, "size {size}");
        }
    }

    /// Records the bytes of each write(2).
    #[derive(Debug, Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sizes(Writes(writes): &Writes) -> Vec<usize> {
        writes.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_file_is_written_in_chunks_while_the_peer_is_busy() {
        let blocks: Vec<Vec<u8>> = (0..=100).map(|i| vec![i; 1468]).collect();
        let mut file = BlockWriter::new(Writes::default(), Mode::Octet, SizeLimit::new(None));
        for block in &blocks {
            file.add(block).unwrap();
            assert!(file.file.0.is_empty(), "the transfer does not wait for the disk");
        }
        file.write_chunks().unwrap();
        file.write_chunks().unwrap();
        assert_eq!(sizes(&file.file), [2 * CHUNK]);
        let writes = file.finish().unwrap();
        assert_eq!(sizes(&writes), [2 * CHUNK, 1468 * 101 - 2 * CHUNK]);
        assert_eq!(writes.0.concat(), blocks.concat());
    }

    #[test]
    fn the_buffer_holds_a_few_chunks_at_most() {
        let block = vec![7; 65464];
        let mut file = BlockWriter::new(Writes::default(), Mode::Octet, SizeLimit::new(None));
        for _ in 0..100 {
            file.add(&block).unwrap();
            assert!(file.buffer.len() <= MAX_BUFFERED);
        }
        let writes = file.finish().unwrap();
        let (last, others) = writes.0.split_last().unwrap();
        assert!(others.iter().all(|write| write.len() % CHUNK == 0 && !write.is_empty()));
        assert_eq!(sizes(&writes).iter().sum::<usize>(), 65464 * 100);
        assert!(!last.is_empty());
    }

    #[test]
    fn a_file_over_its_limit_is_too_big() {
        let blocks = [b"1234".to_vec(), b"56".to_vec()];
        assert_eq!(join(&blocks, Mode::Octet, Some(6)).unwrap(), b"123456");
        let error = join(&blocks, Mode::Octet, Some(5)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EFBIG as i32));
    }

    #[test]
    fn the_limit_counts_bytes_of_the_file_and_not_of_the_wire() {
        let blocks = [b"a\r\nb\r\n\r".to_vec()];
        assert_eq!(join(&blocks, Mode::Netascii, Some(5)).unwrap(), b"a\nb\n\r");
        assert!(join(&blocks, Mode::Netascii, Some(4)).is_err(), "the CR held at the end counts");
    }
}
