//! One transfer: a half of the protocol and a clock. It knows no socket, so that a process can have
//! one transfer or many.

use std::io;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::negotiation::TransferOptions;
use crate::packet::{HEADER, Malformed, Packet};
use crate::timer::{Due, Limits, Timer};
use crate::window::Packets;

/// A dallying end stays at most this many times the wait it was told, however often the other
/// end repeats its last block.
const MAX_DALLY: u32 = 5;
/// A peer that was silent for so long and then sends its request again does so on purpose.
const SILENCE: Duration = Duration::from_secs(2);

/// What a datagram asks of a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Ignore,
    /// The transfer went forward: send the next packets.
    Forward,
    /// The transfer went forward, and the peer goes on by itself: its window is not over.
    Taken,
    /// The same answer once more; no step forward.
    Repeat([u8; HEADER]),
    /// The last block was acknowledged.
    Complete,
    /// All blocks have come: keep the file, then send the last ACK.
    Final,
}

/// How far a half has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The options were told, and nothing has come of it yet.
    Options,
    /// Blocks travel.
    Blocks,
    /// All was sent, and only the last ACK is missing.
    LastAck,
}

/// The sender or the receiver of the file.
pub trait Half {
    /// The packets that wait for an answer.
    fn packets(&self) -> Packets<'_>;

    /// Takes a packet of the peer's that is no ERROR.
    ///
    /// # Errors
    /// [`Failure::Denied`] ends the transfer with an ERROR to the peer.
    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure>;

    /// The packets are sent again, because no answer came.
    fn again(&mut self);

    /// While the peer is busy with the packets that were just sent; true if that took some time.
    ///
    /// # Errors
    /// As [`Half::receive`].
    fn meanwhile(&mut self) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Makes the file durable and visible, after [`Turn::Final`].
    ///
    /// # Errors
    /// Those of doing so.
    fn keep(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The file was kept by another process.
    fn kept(&mut self) {}

    /// How far this half has come.
    fn stage(&self) -> Stage;

    /// What both ends have agreed upon so far.
    fn options(&self) -> &TransferOptions;

    /// Octets of the file that have travelled.
    fn octets(&self) -> u64;

    /// DATA packets that have travelled, each counted once.
    fn blocks(&self) -> u64;

    /// Packets that were sent once more.
    fn resent(&self) -> u64;
}

impl<H: Half + ?Sized> Half for Box<H> {
    fn packets(&self) -> Packets<'_> {
        (**self).packets()
    }

    fn receive(&mut self, packet: Packet<'_>) -> Result<Turn, Failure> {
        (**self).receive(packet)
    }

    fn again(&mut self) {
        (**self).again();
    }

    fn meanwhile(&mut self) -> Result<bool, Failure> {
        (**self).meanwhile()
    }

    fn keep(&mut self) -> io::Result<()> {
        (**self).keep()
    }

    fn kept(&mut self) {
        (**self).kept();
    }

    fn stage(&self) -> Stage {
        (**self).stage()
    }

    fn options(&self) -> &TransferOptions {
        (**self).options()
    }

    fn octets(&self) -> u64 {
        (**self).octets()
    }

    fn blocks(&self) -> u64 {
        (**self).blocks()
    }

    fn resent(&self) -> u64 {
        (**self).resent()
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for a datagram, until [`Transfer::deadline`] at the latest.
    Wait,
    /// Send the half's packets.
    Send,
    /// Send this one.
    Answer([u8; HEADER]),
    /// Keep the file; then send the half's packet and end well, or say why not.
    Keep,
    /// End well.
    End,
}

/// One transfer.
#[derive(Debug)]
pub struct Transfer<H> {
    /// Our half of it.
    pub half: H,
    timer: Timer,
    /// Every packet came once and was sent once so far.
    pub smooth: bool,
    dally: Option<Dally>,
    /// When the peer's last datagram came.
    heard: Instant,
}

/// The time after the last ACK, in case that is lost: "dallying is encouraged" (RFC 1350 §6).
#[derive(Debug)]
struct Dally {
    wait: Duration,
    until: Instant,
    end: Instant,
}

impl<H: Half> Transfer<H> {
    /// A transfer whose first packets are sent `now`.
    pub fn new(half: H, limits: Limits, now: Instant) -> Transfer<H> {
        let mut timer = Timer::new(limits, now);
        timer.fix(half.options().timeout);
        Transfer { half, timer, smooth: true, dally: None, heard: now }
    }

    /// The half's packets were sent, and that took until `now`.
    pub fn sent(&mut self, now: Instant) {
        self.timer.sent(now);
    }

    /// This process was busy until `now`, perhaps for so long that the time-out is over: the answer may
    /// wait to be heard.
    pub fn free(&mut self, now: Instant) {
        self.timer.free(now);
    }

    /// A datagram of the peer's has come.
    ///
    /// # Errors
    /// [`Failure`] says why the file does not get across. The peer of a [`Failure::Denied`] is to
    /// be told.
    pub fn receive(&mut self, datagram: &[u8], now: Instant) -> Result<Step, Failure> {
        self.heard = now;
        let before = self.half.blocks();
        let turn = match Packet::parse(datagram) {
            Ok(Packet::Error { code, message }) => {
                return Err(Failure::Peer { code, message: message.to_vec() });
            }
            Ok(packet) => self.half.receive(packet)?,
            Err(Malformed::Request(_) | Malformed::Unknown) => {
                return Err(Failure::illegal("Not a TFTP packet"));
            }
        };
        let blocks = self.half.blocks() - before;
        Ok(match turn {
            Turn::Ignore => Step::Wait,
            Turn::Forward => {
                self.timer.fix(self.half.options().timeout);
                self.timer.forward(blocks, now);
                Step::Send
            }
            Turn::Taken => {
                self.timer.taken(blocks, now);
                Step::Wait
            }
            Turn::Repeat(packet) => {
                self.smooth = false;
                self.timer.repeated(now);
                if let Some(dally) = &mut self.dally {
                    dally.until = now + dally.wait;
                }
                Step::Answer(packet)
            }
            Turn::Complete => Step::End,
            Turn::Final => Step::Keep,
        })
    }

    /// No datagram has come by the deadline.
    ///
    /// # Errors
    /// [`Failure::Silent`], when the peer was silent for too long.
    pub fn clock(&mut self, now: Instant) -> Result<Step, Failure> {
        if let Some(dally) = &self.dally {
            return Ok(if now < dally.until.min(dally.end) { Step::Wait } else { Step::End });
        }
        match self.timer.due(now) {
            Due::Nothing => Ok(Step::Wait),
            Due::Again => {
                self.smooth = false;
                self.half.again();
                self.timer.again(now);
                Ok(Step::Send)
            }
            Due::GiveUp => Err(Failure::Silent),
        }
    }

    /// When [`Transfer::clock`] is to be asked.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.dally {
            Some(dally) => dally.until.min(dally.end),
            None => self.timer.deadline(),
        }
    }

    /// The datagram that began it has come once more, at `at`: a client has not got the first answer,
    /// or the network has doubled its request. But a client that has answered, and then was silent for
    /// longer than a network holds packets back, has been switched off and on, and begins anew.
    ///
    /// # Errors
    /// [`Failure::Renewed`], when it does.
    pub fn asked_again(&mut self, at: Instant) -> Result<(), Failure> {
        if self.is_proven() && at.saturating_duration_since(self.heard) >= SILENCE {
            return Err(Failure::Renewed);
        }
        self.timer.asked_again();
        Ok(())
    }

    /// True once the peer has answered.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.timer.is_proven()
    }

    /// How long an answer may be expected to take, once one has come.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.timer.round_trip()
    }

    /// The last ACK was sent `now`: stays to send it again if it was lost, until the peer was quiet
    /// for `wait`.
    pub fn dally(&mut self, wait: Duration, now: Instant) {
        self.dally = Some(Dally { wait, until: now + wait, end: now + wait * MAX_DALLY });
    }
}
