//! The side that gets the file: the server of a WRQ, the client of an RRQ.
//!
//! No socket and no clock: datagrams come in, and a [`Turn`] says what is to be done.

use std::io::{self, Write};

use crate::content::Assembly;
use crate::failure::Failure;
use crate::negotiation::{TransferOptions, Wishes};
use crate::numbers::Numbers;
use crate::packet::{Packet, ack};
use crate::transfer::{Half, Stage, Turn};
use crate::window::Packets;

/// Block numbers this far back are old; the other half of the circle lies ahead.
const HALF_CIRCLE: u64 = 1 << 15;

/// Gets a file block by block and acknowledges the last one of each window; with `windowsize` 1,
/// as on the slide, each one.
#[derive(Debug)]
pub struct Receiver<W: Write, K> {
    file: Content<W, K>,
    /// The packet that waits for an answer: the request or the OACK, then an ACK.
    packet: Vec<u8>,
    /// A client's: the options that its request asked for.
    wishes: Option<Wishes>,
    /// A client's: the server has granted options.
    granted: bool,
    options: TransferOptions,
    numbers: Numbers,
    /// The last block that came in its order.
    last: u64,
    /// How many blocks came since the last ACK.
    unacked: u16,
    /// The gap after `last` was told already.
    gap_told: bool,
    octets: u64,
    resent: u64,
}

/// The file and what makes it durable and visible.
#[derive(Debug)]
enum Content<W: Write, K> {
    /// Blocks are missing.
    Growing(Assembly<W>, K),
    /// All blocks are written.
    Whole(W, K),
    /// It is where it belongs, or given up.
    Done,
}

impl<W: Write, K: FnOnce(W) -> io::Result<()>> Receiver<W, K> {
    /// A server's: begins with the OACK, or else with ACK 0, which is the answer to the WRQ.
    ///
    /// `keep` makes the file durable and visible. The last block is acknowledged only after it
    /// succeeded.
    pub fn answering(
        file: Assembly<W>,
        keep: K,
        options: TransferOptions,
        oack: Option<Vec<u8>>,
    ) -> Receiver<W, K> {
        let packet = oack.unwrap_or_else(|| ack(0).to_vec());
        let mut receiver = Receiver::asking(file, keep, packet, Wishes::default());
        receiver.wishes = None;
        receiver.agree(options);
        receiver
    }

    /// A client's: begins with the RRQ in `request`, which DATA 1 answers, or an OACK that grants
    /// some of the `wishes` in it.
    pub fn asking(file: Assembly<W>, keep: K, request: Vec<u8>, wishes: Wishes) -> Receiver<W, K> {
        Receiver {
            file: Content::Growing(file, keep),
            packet: request,
            wishes: Some(wishes),
            granted: false,
            options: TransferOptions::default(),
            numbers: Numbers::default(),
            last: 0,
            unacked: 0,
            gap_told: false,
            octets: 0,
            resent: 0,
        }
    }

    fn agree(&mut self, options: TransferOptions) {
        self.options = options;
        self.numbers = Numbers::rolling_to(options.rollover);
    }

    fn data(&mut self, number: u16, data: &[u8]) -> Result<Turn, Failure> {
        if data.len() > self.options.blksize {
            return Err(Failure::illegal("DATA larger than the block"));
        }
        let Content::Growing(file, _) = &mut self.file else { return Ok(self.old(number)) };
        if self.numbers.on_wire(self.last + 1) != number {
            return Ok(self.not_expected(number));
        }
        file.add(data).map_err(|error| Failure::io(&error))?;
        self.last += 1;
        self.octets += data.len() as u64;
        self.gap_told = false;
        self.packet.clear();
        self.packet.extend_from_slice(&ack(number));
        self.unacked += 1;
        if data.len() < self.options.blksize {
            self.finish().map_err(|error| Failure::io(&error))?;
            return Ok(Turn::Final);
        }
        if self.unacked < self.options.windowsize {
            return Ok(Turn::Taken);
        }
        self.unacked = 0;
        Ok(Turn::Forward)
    }

    /// The short block came.
    fn finish(&mut self) -> io::Result<()> {
        if let Content::Growing(file, keep) = std::mem::replace(&mut self.file, Content::Done) {
            self.file = Content::Whole(file.finish()?, keep);
        }
        Ok(())
    }

    /// A block that can't be next is an old one, or what came before it was lost.
    fn not_expected(&mut self, number: u16) -> Turn {
        let ahead = self.numbers.ahead(self.last, number).unwrap_or_default();
        if !(2..=u64::from(self.options.windowsize)).contains(&ahead) {
            return self.old(number);
        }
        // One ACK tells the sender where to go on (RFC 7440 §4); the rest of the window, which is
        // as early, asks for no other one.
        if std::mem::replace(&mut self.gap_told, true) {
            return Turn::Ignore;
        }
        self.unacked = 0;
        Turn::Repeat(ack(self.numbers.on_wire(self.last)))
    }

    /// A block that was stored before is acknowledged again, under its own number: its ACK was
    /// lost, or it was sent twice. In a window of several blocks only the last one is, and only
    /// while the next window has not begun. A block that can't have been sent yet is ignored.
    fn old(&self, number: u16) -> Turn {
        let age = self.numbers.behind(self.last + 1, number).unwrap_or_default();
        let oldest = if self.options.windowsize > 1 { 1 } else { HALF_CIRCLE };
        let asks = match self.file {
            Content::Growing(..) => self.unacked == 0,
            Content::Whole(..) => false, // the last ACK has to wait
            Content::Done => true,
        };
        if asks && (1..=self.last.min(oldest)).contains(&age) {
            Turn::Repeat(ack(number))
        } else {
            Turn::Ignore
        }
    }

    fn oack(&mut self, list: &[u8]) -> Result<Turn, Failure> {
        let Some(wishes) = self.wishes else {
            return Err(Failure::illegal("DATA expected"));
        };
        if self.last > 0 {
            return Ok(Turn::Ignore); // it came late
        }
        if self.granted {
            return Ok(Turn::Repeat(ack(0)));
        }
        self.agree(wishes.agree(list)?);
        (self.packet, self.granted) = (ack(0).to_vec(), true);
        Ok(Turn::Forward)
    }
}

impl<W: Write, K: FnOnce(W) -> io::Result<()>> Half for Receiver<W, K> {
    fn packets(&self) -> Packets<'_> {
        Packets::one(&self.packet)
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure> {
        match packet {
            Packet::Data { block, data } => self.data(block, data),
            Packet::Oack { options } => self.oack(options),
            _ => Err(Failure::illegal("DATA expected")),
        }
    }

    /// The ACK that is sent again is of the last block in its order, and the window begins anew.
    fn again(&mut self) {
        self.unacked = 0;
        self.resent += 1;
    }

    /// The sender makes its next window ready: now there is time for the disk.
    fn meanwhile(&mut self) -> Result<bool, Failure> {
        match &mut self.file {
            Content::Growing(file, _) => file.write_pieces().map_err(|error| Failure::io(&error)),
            Content::Whole(..) | Content::Done => Ok(false),
        }
    }

    fn keep(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.file, Content::Done) {
            Content::Whole(file, keep) => keep(file),
            Content::Growing(..) | Content::Done => Ok(()),
        }
    }

    fn kept(&mut self) {
        self.file = Content::Done;
    }

    fn stage(&self) -> Stage {
        match Packet::parse(&self.packet) {
            Ok(Packet::Oack { .. }) => Stage::Options,
            _ => Stage::Blocks,
        }
    }

    fn options(&self) -> &TransferOptions {
        &self.options
    }

    fn octets(&self) -> u64 {
        self.octets
    }

    fn blocks(&self) -> u64 {
        self.last
    }

    fn resent(&self) -> u64 {
        self.resent
    }
}

#[cfg(test)]
mod tests;
