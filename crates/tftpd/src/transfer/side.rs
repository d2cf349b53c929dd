//! The two sides of a transfer, without socket and clock. They handle packets and return an
//! [`Effect`].

use std::io;

use super::packets::Packets;
use crate::error::Error;
use crate::wire::options::TransferOptions;
use crate::wire::packet::{HEADER, Packet};

/// The effect of a packet from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the packet is old, or early.
    Ignored,
    /// Nothing: the packet is of a kind that this side does not expect, and is counted.
    Unexpected,
    /// Progress: send the next packets.
    SendNext,
    /// Progress: wait for the rest of the peer's window.
    Accepted,
    /// No progress: send the peer this answer again.
    Repeat([u8; HEADER]),
    /// The last block was acknowledged.
    Complete,
    /// All blocks were received: commit the file, then send the last ACK.
    LastBlock,
}

/// The stage of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The options were sent, and the peer has not answered yet.
    Options,
    /// Blocks are being transferred.
    Blocks,
    /// All blocks were sent, and only the last ACK is missing.
    LastAck,
}

/// The sender or the receiver of a file.
pub trait Side {
    /// Returns the packets that await an answer.
    fn packets(&self) -> Packets<'_>;

    /// Handles a packet from the peer other than an ERROR. One of a kind that is not expected ends nothing: some
    /// clients acknowledge an OACK before they send their first block.
    ///
    /// # Errors
    /// [`Error::Denied`] if the transfer must end with an ERROR to the peer.
    fn receive(&mut self, packet: Packet<'_>) -> Result<Effect, Error>;

    /// Records that the packets are sent again because no answer came.
    fn on_retransmit(&mut self);

    /// Reads or writes the file while the peer handles the packets just sent. Returns whether there
    /// was work to do. For a peer that `is_fast` more memory is worth its cost.
    ///
    /// # Errors
    /// As [`Side::receive`].
    fn work_ahead(&mut self, _is_fast: bool) -> Result<bool, Error> {
        Ok(false)
    }

    /// Makes the file durable and visible, after [`Effect::LastBlock`].
    ///
    /// # Errors
    /// The commit fails.
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Records that another process has committed the file.
    fn on_committed(&mut self) {}

    /// Returns the stage of this side.
    fn stage(&self) -> Stage;

    /// Returns the options negotiated so far.
    fn options(&self) -> &TransferOptions;

    /// Returns the bytes of the file transferred so far.
    fn bytes(&self) -> u64;

    /// Returns the number of DATA packets transferred, without retransmissions.
    fn blocks(&self) -> u64;

    /// Returns the number of packets sent again.
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

    fn work_ahead(&mut self, is_fast: bool) -> Result<bool, Error> {
        (**self).work_ahead(is_fast)
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
