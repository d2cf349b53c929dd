//! The side that gets the file: the server of a WRQ, the client of an RRQ.
//!
//! No socket and no clock: datagrams come in, and a [`Turn`] says what is to be done.

use std::io::{self, Write};

use crate::content::Assembly;
use crate::failure::Failure;
use crate::packet::{BLOCK, Packet, ack};
use crate::transfer::{Half, Turn};

/// Block numbers this far back are old; the other half of the circle lies ahead.
const HALF_CIRCLE: u64 = 1 << 15;

/// Gets a file block by block and acknowledges each one.
#[derive(Debug)]
pub struct Receiver<W: Write, K> {
    /// The file, until it is complete.
    file: Option<(Assembly<W>, K)>,
    /// The packet that waits for an answer: the request, then the last ACK.
    packet: Vec<u8>,
    /// The block that comes next. It wraps: 0 follows 65535.
    expected: u16,
    octets: u64,
    /// DATA packets taken so far, each one once.
    blocks: u64,
}

impl<W: Write, K: FnOnce(W) -> io::Result<()>> Receiver<W, K> {
    /// A server's: begins with ACK 0, which is the answer to the WRQ.
    ///
    /// `keep` makes the file durable and visible. The last block is acknowledged only after it
    /// succeeded.
    pub fn answering(file: Assembly<W>, keep: K) -> Receiver<W, K> {
        Receiver::asking(file, keep, ack(0).to_vec())
    }

    /// A client's: begins with the RRQ in `request`, which DATA 1 answers.
    pub fn asking(file: Assembly<W>, keep: K, request: Vec<u8>) -> Receiver<W, K> {
        let file = Some((file, keep));
        Receiver { file, packet: request, expected: 1, octets: 0, blocks: 0 }
    }

    fn data(&mut self, block: u16, data: &[u8]) -> Result<Turn, Failure> {
        if data.len() > BLOCK {
            return Err(Failure::illegal("DATA larger than the block"));
        }
        if block != self.expected || self.file.is_none() {
            return Ok(self.not_expected(block));
        }
        let last = data.len() < BLOCK;
        self.store(data, last).map_err(|error| Failure::io(&error))?;
        self.packet = ack(block).to_vec();
        self.expected = block.wrapping_add(1);
        self.octets += data.len() as u64;
        self.blocks += 1;
        Ok(if last { Turn::Final } else { Turn::Forward })
    }

    /// A block that was stored before is acknowledged again, under its own number: its ACK was
    /// lost, or it was sent twice. A block that can't have been sent yet is ignored.
    fn not_expected(&self, block: u16) -> Turn {
        let age = u64::from(self.expected.wrapping_sub(block));
        if (1..=self.blocks.min(HALF_CIRCLE)).contains(&age) {
            Turn::Repeat(ack(block))
        } else {
            Turn::Ignore
        }
    }

    fn store(&mut self, data: &[u8], last: bool) -> io::Result<()> {
        if let Some((file, _)) = &mut self.file {
            file.add(data)?;
        }
        match self.file.take_if(|_| last) {
            Some((file, keep)) => keep(file.finish()?),
            None => Ok(()),
        }
    }
}

impl<W: Write, K: FnOnce(W) -> io::Result<()>> Half for Receiver<W, K> {
    fn packet(&self) -> &[u8] {
        &self.packet
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure> {
        match packet {
            Packet::Data { block, data } => self.data(block, data),
            _ => Err(Failure::illegal("DATA expected")),
        }
    }

    fn octets(&self) -> u64 {
        self.octets
    }

    fn blocks(&self) -> u64 {
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Mode;
    use std::cell::RefCell;
    use std::rc::Rc;

    type Kept = Rc<RefCell<Option<Vec<u8>>>>;

    fn answering(kept: &Kept) -> Receiver<Vec<u8>, impl FnOnce(Vec<u8>) -> io::Result<()> + use<>> {
        let kept = kept.clone();
        let keep = move |file| {
            *kept.borrow_mut() = Some(file);
            Ok(())
        };
        Receiver::answering(Assembly::new(Vec::new(), Mode::Octet, None), keep)
    }

    fn data(receiver: &mut impl Half, block: u16, data: &[u8]) -> Turn {
        receiver.receive(Packet::Data { block, data }).unwrap()
    }

    #[test]
    fn a_short_block_ends_the_file_and_it_is_kept_before_its_ack() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        assert_eq!(receiver.packet(), ack(0));
        assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Turn::Forward);
        assert_eq!(receiver.packet(), ack(1));
        assert!(kept.borrow().is_none());
        assert_eq!(data(&mut receiver, 2, b"end"), Turn::Final);
        assert_eq!(receiver.packet(), ack(2));
        assert_eq!(kept.take().unwrap(), [&[b'a'; 512][..], b"end"].concat());
        assert_eq!((receiver.octets(), receiver.blocks()), (515, 2));
    }

    #[test]
    fn an_empty_block_after_whole_ones_ends_the_file() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        data(&mut receiver, 1, &[b'a'; 512]);
        assert_eq!(data(&mut receiver, 2, b""), Turn::Final);
        assert_eq!(kept.take().unwrap(), [b'a'; 512]);
    }

    #[test]
    fn a_duplicate_block_is_acknowledged_again_and_written_once() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        assert_eq!(data(&mut receiver, 0, &[b'x'; 512]), Turn::Ignore);
        data(&mut receiver, 1, &[b'a'; 512]);
        assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Turn::Repeat(ack(1)));
        data(&mut receiver, 2, &[b'b'; 512]);
        assert_eq!(data(&mut receiver, 1, &[b'a'; 512]), Turn::Repeat(ack(1)));
        assert_eq!(data(&mut receiver, 4, &[b'x'; 512]), Turn::Ignore);
        assert_eq!(data(&mut receiver, 3, b"c"), Turn::Final);
        assert_eq!(data(&mut receiver, 3, b"c"), Turn::Repeat(ack(3)));
        assert_eq!(data(&mut receiver, 4, b"c"), Turn::Ignore);
        assert_eq!(kept.take().unwrap(), [&[b'a'; 512][..], &[b'b'; 512], b"c"].concat());
    }

    #[test]
    fn block_0_follows_block_65535() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        let full = [7; 512];
        for block in 1..=65535 {
            assert_eq!(data(&mut receiver, block, &full), Turn::Forward);
        }
        assert_eq!(data(&mut receiver, 0, &full), Turn::Forward);
        assert_eq!(data(&mut receiver, 65535, &full), Turn::Repeat(ack(65535)));
        assert_eq!(data(&mut receiver, 1, b"e"), Turn::Final);
        assert_eq!(kept.take().unwrap().len(), 65536 * 512 + 1);
    }

    #[test]
    fn data_larger_than_the_block_is_illegal() {
        let kept = Kept::default();
        let mut receiver = answering(&kept);
        let packet = Packet::Data { block: 1, data: &[0; 513] };
        let failure = receiver.receive(packet).unwrap_err();
        assert_eq!(failure.to_string(), "DATA larger than the block (ERROR 4)");
        assert!(kept.borrow().is_none());
    }

    #[test]
    fn a_file_that_can_not_be_kept_gets_no_ack() {
        let full = |_| Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
        let file = Assembly::new(Vec::new(), Mode::Octet, None);
        let mut receiver = Receiver::answering(file, full);
        let failure = receiver.receive(Packet::Data { block: 1, data: b"x" }).unwrap_err();
        assert_eq!(failure.to_string(), "No space left on device (ERROR 3)");
        assert_eq!(receiver.packet(), ack(0));
    }
}
