//! The two sides of a transfer, without socket and clock: packets come in, and an [`Effect`] says
//! what is to be done.

use std::io;

use super::packets::Packets;
use crate::error::Error;
use crate::wire::options::TransferOptions;
use crate::wire::packet::{HEADER, Packet};

/// What a packet of the peer's has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Ignored,
    /// The transfer went forward: send the next packets.
    SendNext,
    /// The transfer went forward, and more of the peer's window is to come.
    Accepted,
    /// The peer needs this answer once more; no step forward.
    Repeat([u8; HEADER]),
    /// The last block was acknowledged.
    Complete,
    /// All blocks have come: commit the file, then send the last ACK.
    LastBlock,
}

/// How far a side has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The options were sent and not answered yet.
    Options,
    /// Blocks travel.
    Blocks,
    /// Everything was sent, and only the last ACK is missing.
    LastAck,
}

/// The sender or the receiver of a file.
pub trait Side {
    /// Returns the packets that wait for an answer.
    fn packets(&self) -> Packets<'_>;

    /// Takes a packet of the peer's that is no ERROR.
    ///
    /// # Errors
    /// [`Error::Denied`] ends the transfer with an ERROR to the peer.
    fn receive(&mut self, packet: Packet<'_>) -> Result<Effect, Error>;

    /// Notes that the packets are sent again, because no answer came.
    fn on_retransmit(&mut self);

    /// Works ahead while the peer is busy with the packets that were just sent; true if that took
    /// some time.
    ///
    /// # Errors
    /// As [`Side::receive`].
    fn work_ahead(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Makes the file durable and visible, after [`Effect::LastBlock`].
    ///
    /// # Errors
    /// Those of doing so.
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Notes that another process has committed the file.
    fn on_committed(&mut self) {}

    /// Returns how far this side has come.
    fn stage(&self) -> Stage;

    /// Returns what both ends have agreed upon so far.
    fn options(&self) -> &TransferOptions;

    /// Returns the bytes of the file that have travelled.
    fn bytes(&self) -> u64;

    /// Returns the DATA packets that have travelled, each counted once.
    fn blocks(&self) -> u64;

    /// Returns the packets that were sent again.
    fn retransmissions(&self) -> u64;
}

impl<S: Side + ?Sized> Side for Box<S> {
    fn packets(&self) -> Packets<'_> {
        (**self).packets()
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Effect, Error> {
        (**self).receive(packet)
    }

    fn on_retransmit(&mut self) {
        (**self).on_retransmit();
    }

    fn work_ahead(&mut self) -> Result<bool, Error> {
        (**self).work_ahead()
    }

    fn commit(&mut self) -> io::Result<()> {
        (**self).commit()
    }

    fn on_committed(&mut self) {
        (**self).on_committed();
    }

    fn stage(&self) -> Stage {
        (**self).stage()
    }

    fn options(&self) -> &TransferOptions {
        (**self).options()
    }

    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn blocks(&self) -> u64 {
        (**self).blocks()
    }

    fn retransmissions(&self) -> u64 {
        (**self).retransmissions()
    }
}
