//! The side that has the file: the server of an RRQ, the client of a WRQ.
//!
//! No socket and no clock: datagrams come in, and a [`Turn`] says what is to be done.

use std::io::Read;

use crate::content::Blocks;
use crate::failure::Failure;
use crate::packet::{BLOCK, Packet, data_header};
use crate::transfer::{Half, Turn};

/// Sends a file block by block, each one when the one before was acknowledged.
#[derive(Debug)]
pub struct Sender<R> {
    file: Blocks<R>,
    /// The packet that waits for its acknowledgement, kept to be sent again.
    packet: Vec<u8>,
    /// The number its ACK has to carry. It wraps: 0 follows 65535.
    block: u16,
    /// The packet holds the short block that ends the file.
    last: bool,
    /// DATA packets made so far.
    blocks: u64,
}

impl<R: Read> Sender<R> {
    /// A server's: begins with DATA 1, which is the answer to the RRQ.
    ///
    /// # Errors
    /// [`Failure::Denied`] when the file can't be read.
    pub fn answering(file: Blocks<R>) -> Result<Sender<R>, Failure> {
        let mut sender = Sender::asking(file, Vec::new());
        sender.make_next()?;
        Ok(sender)
    }

    /// A client's: begins with the WRQ in `request`, which ACK 0 answers.
    pub fn asking(file: Blocks<R>, request: Vec<u8>) -> Sender<R> {
        Sender { file, packet: request, block: 0, last: false, blocks: 0 }
    }

    /// Everything was sent, but for the last block no ACK has come yet.
    pub fn waits_for_last_ack(&self) -> bool {
        self.last
    }

    fn make_next(&mut self) -> Result<(), Failure> {
        self.block = self.block.wrapping_add(1);
        self.packet.clear();
        self.packet.extend_from_slice(&data_header(self.block));
        let filled = self.file.next(BLOCK, &mut self.packet).map_err(|e| Failure::io(&e))?;
        self.last = filled < BLOCK;
        self.blocks += 1;
        Ok(())
    }
}

impl<R: Read> Half for Sender<R> {
    fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Only the ACK of the present block moves the transfer. An older one is a duplicate or came
    /// late: answering it with DATA would double every packet from here on (the Sorcerer's
    /// Apprentice, RFC 1123 §4.2.3.1).
    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure> {
        match packet {
            Packet::Ack { block } if block != self.block => Ok(Turn::Ignore),
            Packet::Ack { .. } if self.last => Ok(Turn::Complete),
            Packet::Ack { .. } => self.make_next().map(|()| Turn::Forward),
            _ => Err(Failure::illegal("ACK expected")),
        }
    }

    fn octets(&self) -> u64 {
        self.file.octets()
    }

    fn blocks(&self) -> u64 {
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Mode;

    fn answering(file: &[u8]) -> Sender<&[u8]> {
        Sender::answering(Blocks::new(file, Mode::Octet)).unwrap()
    }

    fn ack(sender: &mut Sender<&[u8]>, block: u16) -> Turn {
        sender.receive(Packet::Ack { block }).unwrap()
    }

    #[test]
    fn an_empty_file_is_one_empty_block() {
        let mut sender = answering(b"");
        assert_eq!(sender.packet(), b"\0\x03\0\x01");
        assert!(sender.waits_for_last_ack());
        assert_eq!(ack(&mut sender, 1), Turn::Complete);
        assert_eq!((sender.octets(), sender.blocks()), (0, 1));
    }

    #[test]
    fn duplicate_old_and_future_acks_never_move_the_transfer() {
        let file = [b'x'; 1200];
        let mut sender = answering(&file);
        assert_eq!(ack(&mut sender, 0), Turn::Ignore);
        assert_eq!(ack(&mut sender, 2), Turn::Ignore);
        assert_eq!(ack(&mut sender, 1), Turn::Forward);
        let second = sender.packet().to_vec();
        for old in [1, 1, 0, 65535, 3] {
            assert_eq!(ack(&mut sender, old), Turn::Ignore);
            assert_eq!(sender.packet(), second);
        }
        assert_eq!(ack(&mut sender, 2), Turn::Forward);
        assert_eq!(sender.packet().len(), 4 + 1200 - 1024);
    }

    #[test]
    fn block_0_follows_block_65535() {
        let file = vec![7; 512 * 65537];
        let mut sender = answering(&file);
        for block in 1..=65535 {
            assert_eq!(ack(&mut sender, block), Turn::Forward);
        }
        assert_eq!(&sender.packet()[..4], b"\0\x03\0\0");
        assert_eq!(ack(&mut sender, 0), Turn::Forward);
        assert_eq!(ack(&mut sender, 1), Turn::Forward);
        assert_eq!(sender.packet(), b"\0\x03\0\x02", "an empty last block");
        assert_eq!(ack(&mut sender, 2), Turn::Complete);
        assert_eq!((sender.octets(), sender.blocks()), (512 * 65537, 65538));
    }

    #[test]
    fn a_client_begins_with_its_request() {
        let mut sender = Sender::asking(Blocks::new(&b"abc"[..], Mode::Octet), b"WRQ".to_vec());
        assert_eq!(sender.packet(), b"WRQ");
        assert_eq!(ack(&mut sender, 1), Turn::Ignore);
        assert_eq!(ack(&mut sender, 0), Turn::Forward);
        assert_eq!(sender.packet(), b"\0\x03\0\x01abc");
        assert_eq!(ack(&mut sender, 1), Turn::Complete);
    }

    #[test]
    fn data_in_answer_to_data_is_illegal() {
        let packet = Packet::Data { block: 1, data: b"" };
        let failure = answering(b"x").receive(packet).unwrap_err();
        assert_eq!(failure.to_string(), "ACK expected (ERROR 4)");
    }
}
