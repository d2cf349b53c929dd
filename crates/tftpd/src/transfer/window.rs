//! The unacknowledged DATA packets of a sender.
//!
//! They lie in a ring, each in a slot of its own, so that a window is one or two pieces of memory.
//! The kernel takes a piece with one system call, and one read(2) fills many blocks.
//!
//! At first the ring has room for a window, because a thousand transfers at once need a thousand
//! rings. Once the peer has proved to be fast it has room for the next window too, or for 64 KiB, so
//! that the file is read while the peer handles the current window. Large windows are not read
//! ahead, because the page faults of fresh memory cost more than that gains.

use std::io::{self, IoSliceMut, Read};

use super::packets::Packets;
use crate::files::block_reader::BlockReader;
use crate::wire::block_number::BlockNumbers;
use crate::wire::options::TransferOptions;
use crate::wire::packet::{HEADER, data_header};

/// Smallest ring in bytes, of a page.
const MIN_RING: usize = 4 * 1024;
/// Smallest ring in bytes for a fast peer, read from the file with one system call.
const MIN_READ: usize = 64 * 1024;
/// Bytes that a peer must have been sent before it counts as fast: by then a network that loses
/// packets has lost one.
const FAST_AFTER: u64 = 256 * 1024;
/// Largest window in bytes that is read ahead.
const MAX_READ_AHEAD: usize = 1024 * 1024;

/// A file being cut into DATA packets.
#[derive(Debug)]
pub struct Window<R> {
    file: BlockReader<R>,
    numbers: BlockNumbers,
    blksize: usize,
    /// The ring; empty until the first block is made.
    slots: Vec<u8>,
    /// Number of slots in the ring.
    capacity: u64,
    /// The same for a fast peer.
    full_capacity: u64,
    /// The last block released from the ring.
    released: u64,
    /// The last block in the ring.
    filled: u64,
    /// Bytes of the block that ends the file, once it is in the ring.
    short: Option<usize>,
}

impl<R: Read> Window<R> {
    /// Creates an empty ring without reading from `file`.
    pub fn new(file: BlockReader<R>, options: &TransferOptions) -> Window<R> {
        let window = usize::from(options.windowsize).max(1);
        let (capacity, full_capacity) = match window * options.blksize {
            ..=MAX_READ_AHEAD if file.reads_ahead() => (
                window.max(MIN_RING / options.blksize),
                (window * 2).max(MIN_READ / options.blksize),
            ),
            _ => (window, window),
        };
        let blocks = file.size().map_or(u64::MAX, |size| size / options.blksize as u64 + 1);
        let [capacity, full_capacity] =
            [capacity, full_capacity].map(|capacity| (capacity as u64).min(blocks));
        Window {
            file,
            numbers: BlockNumbers::with_rollover(options.rollover),
            blksize: options.blksize,
            slots: Vec::new(),
            capacity,
            full_capacity,
            released: 0,
            filled: 0,
            short: None,
        }
    }

    /// Fills the ring up to this block, for which it must have room, or to the end of the file.
    /// Returns the last block filled.
    ///
    /// # Errors
    /// Reading the file fails.
    pub fn fill(&mut self, block: u64) -> io::Result<u64> {
        while self.filled < block && self.short.is_none() {
            let room = self.released + self.capacity - self.filled;
            if room == 0 {
                break; // the file is longer than its announced size
            }
            let wanted = (block - self.filled).min(room);
            self.read_blocks(if self.file.reads_ahead() { room } else { wanted })?;
        }
        Ok(self.filled.min(block))
    }

    /// Reads ahead if at least half of the ring is free. Returns whether it did. A peer that `is_fast`
    /// gets a ring of the full size.
    ///
    /// # Errors
    /// Reading the file fails.
    pub fn read_ahead(&mut self, is_fast: bool) -> io::Result<bool> {
        if is_fast && self.capacity < self.full_capacity && self.bytes(self.filled) >= FAST_AFTER {
            self.grow();
        }
        let room = self.released + self.capacity - self.filled;
        let is_worth_it = room > 0 && room * 2 >= self.capacity;
        let reads = is_worth_it && self.file.reads_ahead() && self.short.is_none();
        if reads {
            self.read_blocks(room)?;
        }
        Ok(reads)
    }

    /// Moves the packets to a ring of the full size.
    fn grow(&mut self) {
        let size = HEADER + self.blksize;
        let small = std::mem::take(&mut self.slots);
        let from: Vec<usize> =
            (self.released + 1..=self.filled).map(|block| self.offset(block)).collect();
        self.capacity = self.full_capacity;
        self.slots = vec![0; size * as_size(self.capacity)];
        for (block, from) in (self.released + 1..).zip(from) {
            let to = self.offset(block);
            if let (Some(to), Some(from)) =
                (self.slots.get_mut(to..to + size), small.get(from..from + size))
            {
                to.copy_from_slice(from);
            }
        }
    }

    /// Reads the next blocks and writes their headers.
    fn read_blocks(&mut self, count: u64) -> io::Result<()> {
        let size = HEADER + self.blksize;
        if self.slots.is_empty() {
            // calloc(3), which touches no page before it is needed.
            self.slots = vec![0; size * as_size(self.capacity)];
        }
        let at = self.offset(self.filled + 1);
        let (front, back) = self.slots.split_at_mut(at);
        let slots = back.chunks_exact_mut(size).chain(front.chunks_exact_mut(size));
        let places = slots.take(as_size(count)).filter_map(|slot| slot.get_mut(HEADER..));
        let mut blocks = Vec::with_capacity(as_size(count)); // what grows is a part of another page each time
        blocks.extend(places.map(IoSliceMut::new));
        let read = self.file.fill(&mut blocks)?;
        let whole = (read / self.blksize) as u64;
        let first = self.filled + 1;
        self.filled += whole;
        if whole < count {
            self.short = Some(read % self.blksize);
            self.filled += 1;
        }
        for block in first..=self.filled {
            let (at, header) = (self.offset(block), data_header(self.numbers.on_wire(block)));
            if let Some(place) = self.slots.get_mut(at..at + HEADER) {
                place.copy_from_slice(&header);
            }
        }
        Ok(())
    }

    /// Returns the offset of a block's packet.
    fn offset(&self, block: u64) -> usize {
        as_size((block - 1) % self.capacity) * (HEADER + self.blksize)
    }

    /// Releases the slots of the acknowledged blocks up to this one.
    pub fn release(&mut self, block: u64) {
        self.released = block.clamp(self.released, self.filled);
    }

    /// Returns the packets from the first in the ring up to this block.
    pub fn up_to(&self, block: u64) -> Packets<'_> {
        let size = HEADER + self.blksize;
        let block = block.min(self.filled);
        let mut length = as_size(block.saturating_sub(self.released)) * size;
        if length > 0 && self.is_last(block) {
            length -= self.blksize - self.short.unwrap_or_default();
        }
        let (before, after) =
            self.slots.split_at(self.offset(self.released + 1).min(self.slots.len()));
        let first = after.get(..length).unwrap_or(after);
        let second = before.get(..length - first.len()).unwrap_or_default();
        Packets { size, pieces: [first, second] }
    }

    /// Returns whether this block ends the file.
    pub fn is_last(&self, block: u64) -> bool {
        self.short.is_some() && block == self.filled
    }

    /// Returns the bytes of the file in the blocks up to this one.
    pub fn bytes(&self, block: u64) -> u64 {
        let size = self.blksize as u64;
        match self.short {
            Some(short) if block == self.filled => (block - 1) * size + short as u64,
            _ => block * size,
        }
    }
}

/// Converts a number of blocks in the ring, which is small.
fn as_size(blocks: u64) -> usize {
    usize::try_from(blocks).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::Mode;

    fn options(blksize: usize, windowsize: u16) -> TransferOptions {
        TransferOptions { blksize, windowsize, ..TransferOptions::default() }
    }

    fn packets<R: Read>(window: &Window<R>, block: u64) -> Vec<Vec<u8>> {
        window.up_to(block).iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn packets_lie_in_the_ring_in_order() {
        for file in [
            BlockReader::new(&b"aabbccddeeff"[..], Mode::Octet),
            BlockReader::regular_file(b"aabbccddeeff", Mode::Octet),
        ] {
            let mut window = Window::new(file, &options(2, 4));
            window.capacity = 5; // so that the packets wrap around
            assert_eq!(window.fill(3).unwrap(), 3);
            let expected = [b"\0\x03\0\x01aa", b"\0\x03\0\x02bb", b"\0\x03\0\x03cc"];
            assert_eq!(packets(&window, 3), expected);
            window.release(2);
            assert_eq!(window.fill(6).unwrap(), 6);
            let expected =
                [b"\0\x03\0\x03cc", b"\0\x03\0\x04dd", b"\0\x03\0\x05ee", b"\0\x03\0\x06ff"];
            assert_eq!(packets(&window, 6), expected);
            assert!(!window.is_last(6));
            window.release(6);
            assert_eq!(window.fill(9).unwrap(), 7);
            assert_eq!(packets(&window, 7), [b"\0\x03\0\x07"]);
            assert!(window.is_last(7));
            assert_eq!((window.bytes(5), window.bytes(7)), (10, 12));
        }
    }

    #[test]
    fn blocks_are_read_ahead() {
        let file = [7; 100];
        let mut window =
            Window::new(BlockReader::regular_file(&file[..], Mode::Octet), &options(10, 2));
        window.capacity = 4;
        window.fill(2).unwrap();
        assert_eq!(window.filled, 4);
        window.release(1);
        window.read_ahead(true).unwrap();
        assert_eq!(window.filled, 4, "one slot is not worth a system call");
        window.release(2);
        window.read_ahead(true).unwrap();
        assert_eq!(window.filled, 6);
        let mut window = Window::new(BlockReader::new(&file[..], Mode::Octet), &options(10, 2));
        window.fill(1).unwrap();
        window.read_ahead(true).unwrap();
        assert_eq!(window.filled, 1, "a pipe is read when its bytes are needed");
    }

    #[test]
    fn only_a_fast_peer_that_was_sent_enough_has_a_large_ring() {
        let text: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        for (window, blksize, first, full) in
            [(1, 1468, 2, 44), (16, 1468, 16, 44), (64, 1468, 64, 128)]
        {
            for is_fast in [false, true] {
                let file = BlockReader::regular_file(&text[..], Mode::Octet)
                    .with_size(Some(text.len() as u64));
                let mut ring = Window::new(file, &options(blksize, window));
                let (mut all, mut last) = (Vec::new(), 0);
                while !ring.is_last(last) {
                    let end = ring.fill(last + u64::from(window)).unwrap();
                    let size = ring.slots.len() / (HEADER + blksize);
                    let has_grown = is_fast && ring.bytes(last) > FAST_AFTER;
                    assert!(size == if has_grown { full } else { first } || is_fast && !has_grown);
                    ring.read_ahead(is_fast).unwrap();
                    // What was sent can still be sent again.
                    all.extend(ring.up_to(end).iter().flat_map(|packet| packet[HEADER..].to_vec()));
                    ring.release(end);
                    last = end;
                }
                assert!(all == text, "{window} {is_fast}");
            }
        }
    }

    #[test]
    fn memory_fits_the_announced_size_and_a_longer_file_is_still_sent_whole() {
        let text: Vec<u8> = (0..250).collect();
        for said in [0, 10, 249, 250, 251] {
            let file = BlockReader::regular_file(&text[..], Mode::Octet).with_size(Some(said));
            let mut window = Window::new(file, &options(10, 8));
            let (mut all, mut last) = (Vec::new(), 0);
            loop {
                let end = window.fill(last + 8).unwrap();
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
    fn a_short_block_at_the_end_of_the_ring_ends_the_packets() {
        let mut window =
            Window::new(BlockReader::new(&b"aaabbbc"[..], Mode::Octet), &options(3, 2));
        window.fill(2).unwrap();
        window.release(1);
        assert_eq!(window.fill(3).unwrap(), 3);
        assert_eq!(packets(&window, 3), [&b"\0\x03\0\x02bbb"[..], b"\0\x03\0\x03c"]);
        assert_eq!(packets(&window, 2), [b"\0\x03\0\x02bbb"]);
    }
}
