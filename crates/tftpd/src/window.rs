//! The DATA packets of a sender, made and not yet acknowledged.
//!
//! They lie in a ring, each in a slot of its own, so that a window is one piece of memory, or two:
//! the kernel takes it with one system call, and read(2) fills many blocks with one. The ring has
//! room for the next window too, or for 64 KiB, so that the file is read while the peer is busy
//! with what it got; but not for large windows, where memory that nobody has touched before costs
//! more than that gains.

use std::io::{self, IoSliceMut, Read};

use crate::content::Blocks;
use crate::negotiation::TransferOptions;
use crate::numbers::Numbers;
use crate::packet::{HEADER, data_header};

/// At least so many octets are read from a file at a time.
const READ: usize = 64 * 1024;
/// Windows of more octets are not read ahead.
const AHEAD: usize = 1024 * 1024;

/// Packets in a row, of one size but for the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets<'a> {
    /// Octets of each but the last.
    pub size: usize,
    /// The packets, up to the end of the ring and from its beginning on. Only the last one of all
    /// may be short.
    pub pieces: [&'a [u8]; 2],
}

impl<'a> Packets<'a> {
    /// A single packet.
    #[must_use]
    pub fn one(packet: &'a [u8]) -> Packets<'a> {
        Packets { size: packet.len().max(1), pieces: [packet, &[]] }
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = self.size;
        self.pieces.into_iter().flat_map(move |piece| piece.chunks(size))
    }
}

/// A file on its way into packets.
#[derive(Debug)]
pub struct Window<R> {
    file: Blocks<R>,
    numbers: Numbers,
    blksize: usize,
    /// The ring; empty until the first block is made.
    slots: Vec<u8>,
    /// How many slots there are.
    capacity: u64,
    /// The last block that has left the ring.
    done: u64,
    /// The last block made.
    made: u64,
    /// Octets of the block that ends the file, once that one is made.
    short: Option<usize>,
}

impl<R: Read> Window<R> {
    /// Nothing of `file` is read yet.
    pub fn new(file: Blocks<R>, options: &TransferOptions) -> Window<R> {
        let window = usize::from(options.windowsize);
        let capacity = match window * options.blksize {
            ..=AHEAD if file.reads_ahead() => (window * 2).max(READ / options.blksize),
            _ => window,
        };
        let blocks = file.size().map_or(u64::MAX, |size| size / options.blksize as u64 + 1);
        let capacity = (capacity.max(1) as u64).min(blocks);
        Window {
            file,
            numbers: Numbers::rolling_to(options.rollover),
            blksize: options.blksize,
            slots: Vec::new(),
            capacity,
            done: 0,
            made: 0,
            short: None,
        }
    }

    /// Makes the blocks up to this one, which the ring must have room for: fewer, where the file
    /// ends before. Tells the last one there is.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn make(&mut self, block: u64) -> io::Result<u64> {
        while self.made < block && self.short.is_none() {
            let room = self.done + self.capacity - self.made;
            if room == 0 {
                break; // the file is longer than it said
            }
            let wanted = (block - self.made).min(room);
            self.make_some(if self.file.reads_ahead() { room } else { wanted })?;
        }
        Ok(self.made.min(block))
    }

    /// Reads ahead, when much is to be read; true then.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn read_ahead(&mut self) -> io::Result<bool> {
        let room = self.done + self.capacity - self.made;
        let much = room > 0 && room * 2 >= self.capacity;
        let reads = much && self.file.reads_ahead() && self.short.is_none();
        if reads {
            self.make_some(room)?;
        }
        Ok(reads)
    }

    fn make_some(&mut self, count: u64) -> io::Result<()> {
        let size = HEADER + self.blksize;
        if self.slots.is_empty() {
            self.slots = vec![0; size * as_size(self.capacity)]; // no page is touched before it is needed
        }
        let at = self.slot(self.made + 1);
        let (front, back) = self.slots.split_at_mut(at);
        let slots = back.chunks_exact_mut(size).chain(front.chunks_exact_mut(size));
        let blocks = slots.take(as_size(count)).filter_map(|slot| slot.get_mut(HEADER..));
        let mut blocks: Vec<_> = blocks.map(IoSliceMut::new).collect();
        let filled = self.file.fill(&mut blocks)?;
        let whole = (filled / self.blksize) as u64;
        let first = self.made + 1;
        self.made += whole;
        if whole < count {
            self.short = Some(filled % self.blksize);
            self.made += 1;
        }
        for block in first..=self.made {
            let (at, header) = (self.slot(block), data_header(self.numbers.on_wire(block)));
            if let Some(place) = self.slots.get_mut(at..at + HEADER) {
                place.copy_from_slice(&header);
            }
        }
        Ok(())
    }

    /// Where the packet of a block lies.
    fn slot(&self, block: u64) -> usize {
        as_size((block - 1) % self.capacity) * (HEADER + self.blksize)
    }

    /// The blocks up to this one are acknowledged, and their slots free.
    pub fn release(&mut self, block: u64) {
        self.done = block.clamp(self.done, self.made);
    }

    /// The packets of the blocks from the first one in the ring to this one.
    pub fn up_to(&self, block: u64) -> Packets<'_> {
        let size = HEADER + self.blksize;
        let block = block.min(self.made);
        let mut length = as_size(block.saturating_sub(self.done)) * size;
        if length > 0 && self.is_last(block) {
            length -= self.blksize - self.short.unwrap_or_default();
        }
        let (before, after) = self.slots.split_at(self.slot(self.done + 1).min(self.slots.len()));
        let first = after.get(..length).unwrap_or(after);
        let second = before.get(..length - first.len()).unwrap_or_default();
        Packets { size, pieces: [first, second] }
    }

    /// True for the block that ends the file.
    pub fn is_last(&self, block: u64) -> bool {
        self.short.is_some() && block == self.made
    }

    /// Octets of the file in the blocks up to this one.
    pub fn octets(&self, block: u64) -> u64 {
        let size = self.blksize as u64;
        match self.short {
            Some(short) if block == self.made => (block - 1) * size + short as u64,
            _ => block * size,
        }
    }
}

/// Counts of blocks in the ring are small.
fn as_size(blocks: u64) -> usize {
    usize::try_from(blocks).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Mode;

    fn options(blksize: usize, windowsize: u16) -> TransferOptions {
        TransferOptions { blksize, windowsize, ..TransferOptions::default() }
    }

    fn packets<R: Read>(window: &Window<R>, block: u64) -> Vec<Vec<u8>> {
        window.up_to(block).iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn packets_lie_in_a_ring_in_their_order() {
        for file in [
            Blocks::new(&b"aabbccddeeff"[..], Mode::Octet),
            Blocks::ahead(b"aabbccddeeff", Mode::Octet),
        ] {
            let mut window = Window::new(file, &options(2, 4));
            window.capacity = 5; // that the end of the ring is met
            assert_eq!(window.make(3).unwrap(), 3);
            let expected = [b"\0\x03\0\x01aa", b"\0\x03\0\x02bb", b"\0\x03\0\x03cc"];
            assert_eq!(packets(&window, 3), expected);
            window.release(2);
            assert_eq!(window.make(6).unwrap(), 6);
            let expected =
                [b"\0\x03\0\x03cc", b"\0\x03\0\x04dd", b"\0\x03\0\x05ee", b"\0\x03\0\x06ff"];
            assert_eq!(packets(&window, 6), expected);
            assert!(!window.is_last(6));
            window.release(6);
            assert_eq!(window.make(9).unwrap(), 7);
            assert_eq!(packets(&window, 7), [b"\0\x03\0\x07"]);
            assert!(window.is_last(7));
            assert_eq!((window.octets(5), window.octets(7)), (10, 12));
        }
    }

    #[test]
    fn what_is_read_ahead_is_there_before_it_is_needed() {
        let file = [7; 100];
        let mut window = Window::new(Blocks::ahead(&file[..], Mode::Octet), &options(10, 2));
        window.capacity = 4;
        window.make(2).unwrap();
        assert_eq!(window.made, 4);
        window.release(1);
        window.read_ahead().unwrap();
        assert_eq!(window.made, 4, "one slot is not worth a system call");
        window.release(2);
        window.read_ahead().unwrap();
        assert_eq!(window.made, 6);
        let mut window = Window::new(Blocks::new(&file[..], Mode::Octet), &options(10, 2));
        window.make(1).unwrap();
        window.read_ahead().unwrap();
        assert_eq!(window.made, 1, "a pipe is read when its octets are needed");
    }

    #[test]
    fn a_small_file_takes_little_memory_and_one_that_is_longer_than_it_said_comes_whole() {
        let text: Vec<u8> = (0..250).collect();
        for said in [0, 10, 249, 250, 251] {
            let file = Blocks::ahead(&text[..], Mode::Octet).of_size(Some(said));
            let mut window = Window::new(file, &options(10, 8));
            let (mut all, mut last) = (Vec::new(), 0);
            loop {
                let end = window.make(last + 8).unwrap();
                all.extend(window.up_to(end).iter().flat_map(|packet| packet[HEADER..].to_vec()));
                window.release(end);
                last = end;
                if window.is_last(end) {
                    break;
                }
            }
            assert_eq!(all, text, "{said}");
            assert!(window.slots.len() <= (said as usize / 10 + 1) * 14);
        }
    }

    #[test]
    fn a_short_block_at_the_rings_end_is_cut_there() {
        let mut window = Window::new(Blocks::new(&b"aaabbbc"[..], Mode::Octet), &options(3, 2));
        window.make(2).unwrap();
        window.release(1);
        assert_eq!(window.make(3).unwrap(), 3);
        assert_eq!(packets(&window, 3), [&b"\0\x03\0\x02bbb"[..], b"\0\x03\0\x03c"]);
        assert_eq!(packets(&window, 2), [b"\0\x03\0\x02bbb"]);
    }
}
