//! The side that receives the file: the server of a WRQ, the client of an RRQ.
//!
//! It has no socket and no clock. It handles packets and returns an [`Effect`].

use std::io::{self, Write};

use super::packets::Packets;
use super::side::{Effect, Side, Stage};
use crate::error::Error;
use crate::files::block_writer::BlockWriter;
use crate::wire::block_number::BlockNumbers;
use crate::wire::options::TransferOptions;
use crate::wire::packet::{Packet, ack};
use crate::wire::requested_options::RequestedOptions;

/// Number of blocks before the current one that count as old: half of the 16-bit numbers. The other
/// half lies ahead.
const OLD_BLOCKS: u64 = 1 << 15;

/// Receives a file block by block and acknowledges the last block of each window. With `windowsize`
/// 1, as on the slide, that is each block.
#[derive(Debug)]
pub struct Receiver<W: Write, C> {
    file: IncomingFile<W, C>,
    /// The packet that awaits an answer: the request or the OACK, then an ACK.
    packet: Vec<u8>,
    /// Client only: the options of the request.
    requested: Option<RequestedOptions>,
    /// Client only: the server has granted options.
    granted: bool,
    options: TransferOptions,
    numbers: BlockNumbers,
    /// The last block received in order.
    last: u64,
    /// Blocks received since the last ACK.
    unacked: u16,
    /// An ACK has reported the gap after `last`.
    gap_reported: bool,
    bytes: u64,
    retransmissions: u64,
}

/// The file, and the function that commits it.
#[derive(Debug)]
enum IncomingFile<W: Write, C> {
    /// Blocks are missing.
    Partial(BlockWriter<W>, C),
    /// All blocks are written; the file is not committed yet.
    Whole(W, C),
    /// The file is committed or abandoned.
    Done,
}

impl<W: Write, C: FnOnce(W) -> io::Result<()>> Receiver<W, C> {
    /// Creates a server's receiver. It answers the WRQ with the OACK, if there is one, or with ACK
    /// 0.
    ///
    /// `commit` makes the file durable and visible. The last block is acknowledged only after
    /// `commit` succeeded.
    pub fn for_server(
        file: BlockWriter<W>,
        commit: C,
        options: TransferOptions,
        oack: Option<Vec<u8>>,
    ) -> Receiver<W, C> {
        let packet = oack.unwrap_or_else(|| ack(0).to_vec());
        let mut receiver = Receiver::for_client(file, commit, packet, RequestedOptions::default());
        receiver.requested = None;
        receiver.set_options(options);
        receiver
    }

    /// Creates a client's receiver. It begins with the RRQ in `request`. The answer is DATA 1, or
    /// an OACK that grants some of the `requested` options.
    pub fn for_client(
        file: BlockWriter<W>,
        commit: C,
        request: Vec<u8>,
        requested: RequestedOptions,
    ) -> Receiver<W, C> {
        Receiver {
            file: IncomingFile::Partial(file, commit),
            packet: request,
            requested: Some(requested),
            granted: false,
            options: TransferOptions::default(),
            numbers: BlockNumbers::default(),
            last: 0,
            unacked: 0,
            gap_reported: false,
            bytes: 0,
            retransmissions: 0,
        }
    }

    fn set_options(&mut self, options: TransferOptions) {
        self.options = options;
        self.numbers = BlockNumbers::with_rollover(options.rollover);
    }

    fn data(&mut self, number: u16, data: &[u8]) -> Result<Effect, Error> {
        if data.len() > self.options.blksize {
            return Err(Error::illegal("DATA larger than the block"));
        }
        let IncomingFile::Partial(file, _) = &mut self.file else { return Ok(self.on_old(number)) };
        if self.numbers.on_wire(self.last + 1) != number {
            return Ok(self.on_unexpected(number));
        }
        file.add(data).map_err(|error| Error::from_io(&error))?;
        self.last += 1;
        self.bytes += data.len() as u64;
        self.gap_reported = false;
        self.packet.clear();
        self.packet.extend_from_slice(&ack(number));
        self.unacked += 1;
        if data.len() < self.options.blksize {
            self.finish().map_err(|error| Error::from_io(&error))?;
            return Ok(Effect::LastBlock);
        }
        if self.unacked < self.options.windowsize {
            return Ok(Effect::Accepted);
        }
        self.unacked = 0;
        Ok(Effect::SendNext)
    }

    /// Writes the rest of the file after the short block.
    fn finish(&mut self) -> io::Result<()> {
        if let IncomingFile::Partial(file, commit) =
            std::mem::replace(&mut self.file, IncomingFile::Done)
        {
            self.file = IncomingFile::Whole(file.finish()?, commit);
        }
        Ok(())
    }

    /// Handles a block other than the next one: an old one, or one after a gap.
    fn on_unexpected(&mut self, number: u16) -> Effect {
        let ahead = self.numbers.ahead(self.last, number).unwrap_or_default();
        if !(2..=u64::from(self.options.windowsize)).contains(&ahead) {
            return self.on_old(number);
        }
        // One ACK tells the sender where to continue (RFC 7440 §4). The rest of the window is not
        // acknowledged.
        if std::mem::replace(&mut self.gap_reported, true) {
            return Effect::Ignored;
        }
        self.unacked = 0;
        Effect::Repeat(ack(self.numbers.on_wire(self.last)))
    }

    /// Acknowledges an old block again under its own number, because its ACK was lost or it was
    /// sent twice. In a window of several blocks only the last one is acknowledged, and only while
    /// the next window has not begun. A block that can't have been sent yet is ignored.
    fn on_old(&self, number: u16) -> Effect {
        let age = self.numbers.behind(self.last + 1, number).unwrap_or_default();
        let oldest = if self.options.windowsize > 1 { 1 } else { OLD_BLOCKS };
        let needs_ack = match self.file {
            IncomingFile::Partial(..) => self.unacked == 0,
            IncomingFile::Whole(..) => false, // the last ACK waits for the commit
            IncomingFile::Done => true,
        };
        if needs_ack && (1..=self.last.min(oldest)).contains(&age) {
            Effect::Repeat(ack(number))
        } else {
            Effect::Ignored
        }
    }

    fn oack(&mut self, list: &[u8]) -> Result<Effect, Error> {
        let Some(requested) = self.requested else {
            return Ok(Effect::Unexpected);
        };
        if self.last > 0 {
            return Ok(Effect::Ignored); // late duplicate
        }
        if self.granted {
            return Ok(Effect::Repeat(ack(0)));
        }
        self.set_options(requested.accept(list)?);
        (self.packet, self.granted) = (ack(0).to_vec(), true);
        Ok(Effect::SendNext)
    }
}

impl<W: Write, C: FnOnce(W) -> io::Result<()>> Side for Receiver<W, C> {
    fn packets(&self) -> Packets<'_> {
        Packets::single(&self.packet)
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Effect, Error> {
        match packet {
            Packet::Data { block, data } => self.data(block, data),
            Packet::Oack { options } => self.oack(options),
            _ => Ok(Effect::Unexpected),
        }
    }

    /// Begins a new window after the ACK of the last block in order, which is sent again.
    fn on_retransmit(&mut self) {
        self.unacked = 0;
        self.retransmissions += 1;
    }

    /// Writes to the disk while the peer prepares its next window.
    fn work_ahead(&mut self, _is_fast: bool) -> Result<bool, Error> {
        match &mut self.file {
            IncomingFile::Partial(file, _) => {
                file.write_chunks().map_err(|error| Error::from_io(&error))
            }
            IncomingFile::Whole(..) | IncomingFile::Done => Ok(false),
        }
    }

    fn commit(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.file, IncomingFile::Done) {
            IncomingFile::Whole(file, commit) => commit(file),
            IncomingFile::Partial(..) | IncomingFile::Done => Ok(()),
        }
    }

    fn on_committed(&mut self) {
        self.file = IncomingFile::Done;
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

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn blocks(&self) -> u64 {
        self.last
    }

    fn retransmissions(&self) -> u64 {
        self.retransmissions
    }
}

#[cfg(test)]
mod tests;
