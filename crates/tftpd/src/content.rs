//! A file's octets on their way into blocks and out of them, in either mode.

use std::io::{self, IoSliceMut, Read, Write};

use nix::errno::Errno;

use netascii::translate::{Decoder, encode};

use crate::packet::Mode;

/// Octets read from a file at a time in netascii: a few system calls for 64 KiB, not one for each block.
const BUFFER: usize = 64 * 1024;
/// A file is written in pieces of so many octets, and each lies at a multiple of that: the page cache
/// then takes it as one (a large folio), which is twice as fast and more.
const PIECE: usize = 64 * 1024;
/// Octets that are gathered at most. More than a piece, so that it can be written while the peer is
/// busy, and does not wait for the disk.
const GATHERED: usize = 4 * PIECE;

/// A file that is cut into blocks.
#[derive(Debug)]
pub struct Blocks<R> {
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

impl<R: Read> Blocks<R> {
    /// Reads `file` from where it stands, and no sooner than a block is needed.
    pub fn new(file: R, mode: Mode) -> Blocks<R> {
        let text = (mode == Mode::Netascii).then(Text::default);
        Blocks { file, text, reads_ahead: false, size: None }
    }

    /// The same for a regular file, which can be read ahead: that never waits for anybody.
    pub fn ahead(file: R, mode: Mode) -> Blocks<R> {
        Blocks { reads_ahead: true, ..Blocks::new(file, mode) }
    }

    /// The octets that will travel, where that is known: no more memory is taken than they need.
    #[must_use]
    pub fn of_size(self, size: Option<u64>) -> Blocks<R> {
        Blocks { size, ..self }
    }

    /// What [`Blocks::of_size`] was told.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// True where blocks may be read before they are needed.
    pub fn reads_ahead(&self) -> bool {
        self.reads_ahead
    }

    /// Fills the blocks one after the other; tells how many octets that were, which is less than
    /// there is room for only at the end of the file.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn fill(&mut self, blocks: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut filled = 0;
        let mut rest = blocks;
        IoSliceMut::advance_slices(&mut rest, 0); // over empty ones
        while !rest.is_empty() {
            let taken = match &mut self.text {
                None => uninterrupted(|| self.file.read_vectored(rest))?,
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
    /// Copies what is translated into the first block, after reading more where nothing is.
    fn fill(&mut self, file: &mut impl Read, blocks: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.read.resize(BUFFER, 0);
            let read = uninterrupted(|| file.read(&mut self.read))?;
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

/// Makes a system call again as long as a signal interrupts it.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// A file that is put together from blocks.
#[derive(Debug)]
pub struct Assembly<W: Write> {
    file: W,
    /// What has come and is not written yet.
    gathered: Vec<u8>,
    /// The decoder of a netascii transfer.
    decoder: Option<Decoder>,
    text: Vec<u8>,
    room: Room,
}

/// How long a file may become, and what is wrong with a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Octets.
    pub octets: u64,
    /// EFBIG or EDQUOT.
    pub errno: Errno,
}

impl Room {
    /// For a file that may not be longer than `max_size`.
    #[must_use]
    pub fn up_to(max_size: Option<u64>) -> Room {
        Room { octets: max_size.unwrap_or(u64::MAX), errno: Errno::EFBIG }
    }

    /// The same where a quota leaves less.
    #[must_use]
    pub fn within_quota(self, left: u64) -> Room {
        if left < self.octets { Room { octets: left, errno: Errno::EDQUOT } } else { self }
    }

    /// Takes so much of it.
    ///
    /// # Errors
    /// There is not so much.
    pub fn take(&mut self, octets: u64) -> nix::Result<()> {
        self.octets = self.octets.checked_sub(octets).ok_or(self.errno)?;
        Ok(())
    }
}

impl<W: Write> Assembly<W> {
    /// Writes to `file`, as far as there is room.
    pub fn new(file: W, mode: Mode, room: Room) -> Assembly<W> {
        Assembly {
            file,
            gathered: Vec::new(),
            decoder: (mode == Mode::Netascii).then(Decoder::new),
            text: Vec::new(),
            room,
        }
    }

    /// Takes one block. It is written when there is a piece of the file, with
    /// [`Assembly::write_pieces`], or when too much would be gathered.
    ///
    /// # Errors
    /// The file has no more room; otherwise those of writing.
    pub fn add(&mut self, block: &[u8]) -> io::Result<()> {
        let Some(decoder) = &mut self.decoder else { return self.gather(block) };
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        decoder.feed(block, &mut text);
        let gathered = self.gather(&text);
        self.text = text;
        gathered
    }

    fn gather(&mut self, octets: &[u8]) -> io::Result<()> {
        self.room.take(octets.len() as u64)?;
        if self.gathered.len() + octets.len() > GATHERED {
            self.write_pieces()?;
        }
        self.gathered.extend_from_slice(octets);
        Ok(())
    }

    /// Writes what has been gathered of whole pieces; true where there were some.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_pieces(&mut self) -> io::Result<bool> {
        let whole = self.gathered.len() / PIECE * PIECE;
        let Some(pieces) = self.gathered.get(..whole).filter(|pieces| !pieces.is_empty()) else {
            return Ok(false);
        };
        self.file.write_all(pieces)?;
        self.gathered.drain(..whole);
        Ok(true)
    }

    /// The last block was added: gives the file back, with all of it written.
    ///
    /// # Errors
    /// As [`Assembly::add`].
    pub fn finish(mut self) -> io::Result<W> {
        let mut text = Vec::new();
        if let Some(mut decoder) = self.decoder.take() {
            decoder.finish(&mut text);
        }
        self.gather(&text)?;
        self.file.write_all(&self.gathered)?;
        self.file.flush()?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `file` into blocks of `size`, two at a time; the last one is short, and perhaps empty.
    fn cut(file: &[u8], mode: Mode, size: usize) -> Vec<Vec<u8>> {
        let mut blocks = Blocks::new(file, mode);
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

    fn join(blocks: &[Vec<u8>], mode: Mode, max_size: Option<u64>) -> io::Result<Vec<u8>> {
        let mut file = Assembly::new(Vec::new(), mode, Room::up_to(max_size));
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

    /// Keeps what each write(2) would get.
    #[derive(Debug, Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.push(octets.to_vec());
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sizes(Writes(writes): &Writes) -> Vec<usize> {
        writes.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_file_is_written_in_whole_pieces_when_there_is_time_for_it() {
        let blocks: Vec<Vec<u8>> = (0..=100).map(|i| vec![i; 1468]).collect();
        let mut file = Assembly::new(Writes::default(), Mode::Octet, Room::up_to(None));
        for block in &blocks {
            file.add(block).unwrap();
            assert!(file.file.0.is_empty(), "nobody waits for the disk");
        }
        file.write_pieces().unwrap();
        file.write_pieces().unwrap();
        assert_eq!(sizes(&file.file), [2 * PIECE]);
        let writes = file.finish().unwrap();
        assert_eq!(sizes(&writes), [2 * PIECE, 1468 * 101 - 2 * PIECE]);
        assert_eq!(writes.0.concat(), blocks.concat());
    }

    #[test]
    fn no_more_is_gathered_than_a_few_pieces() {
        let block = vec![7; 65464];
        let mut file = Assembly::new(Writes::default(), Mode::Octet, Room::up_to(None));
        for _ in 0..100 {
            file.add(&block).unwrap();
            assert!(file.gathered.len() <= GATHERED);
        }
        let writes = file.finish().unwrap();
        let (last, others) = writes.0.split_last().unwrap();
        assert!(others.iter().all(|write| write.len() % PIECE == 0 && !write.is_empty()));
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
    fn the_limit_counts_octets_of_the_file_and_not_of_the_wire() {
        let blocks = [b"a\r\nb\r\n\r".to_vec()];
        assert_eq!(join(&blocks, Mode::Netascii, Some(5)).unwrap(), b"a\nb\n\r");
        assert!(join(&blocks, Mode::Netascii, Some(4)).is_err(), "the CR held at the end counts");
    }
}
