//! One transfer: a sender or a receiver, and a timer. [`Transfer`] knows no socket, so that a
//! process can have one transfer or many; [`udp_transfer`] runs one over a socket of its own.

pub mod busy_poll;
pub mod channel;
pub mod packets;
pub mod port_range;
pub mod receiver;
mod recvmsg;
pub mod sender;
pub mod side;
pub mod timer;
pub mod udp_transfer;
pub mod window;

use std::time::{Duration, Instant};

use self::side::{Effect, Side};
use self::timer::{Due, RetryLimits, Timer};
use crate::error::Error;
use crate::wire::packet::{HEADER, Malformed, Packet};

/// Longest dallying (RFC 1350 §6), as a multiple of the wait for a quiet peer, however often the
/// peer repeats its last block.
const MAX_DALLY: u32 = 5;
/// Least silence of a peer after which its request is a new one although it is the same: no network
/// holds packets back for that long.
const RESTART_SILENCE: Duration = Duration::from_secs(2);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for a datagram, until [`Transfer::deadline`] at the latest.
    Wait,
    /// Send the side's packets.
    Send,
    /// Send this one.
    Answer([u8; HEADER]),
    /// Commit the file; then send the side's packet and end well, or say why not.
    Commit,
    /// End well.
    End,
}

/// One transfer.
#[derive(Debug)]
pub struct Transfer<S> {
    /// Our side of it.
    pub side: S,
    timer: Timer,
    /// Every packet came once and was sent once so far.
    pub is_lossless: bool,
    dally: Option<Dally>,
    /// When the peer's last datagram came.
    heard_at: Instant,
}

/// The time after the last ACK, in case that is lost: "dallying is encouraged" (RFC 1350 §6).
#[derive(Debug)]
struct Dally {
    wait: Duration,
    until: Instant,
    end: Instant,
}

impl<S: Side> Transfer<S> {
    /// Makes a transfer whose first packets are sent `now`.
    pub fn new(side: S, limits: RetryLimits, now: Instant) -> Transfer<S> {
        let mut timer = Timer::new(limits, now);
        timer.set_interval(side.options().timeout);
        Transfer { side, timer, is_lossless: true, dally: None, heard_at: now }
    }

    /// Notes that the side's packets were sent, which took until `now`.
    pub fn on_sent(&mut self, now: Instant) {
        self.timer.on_sent(now);
    }

    /// Notes that this process was busy until `now`, perhaps beyond the time-out: an answer may be
    /// waiting unread.
    pub fn on_busy(&mut self, now: Instant) {
        self.timer.on_busy(now);
    }

    /// Takes a datagram of the peer's.
    ///
    /// # Errors
    /// [`Error`] says why the transfer fails. The peer of an [`Error::Denied`] is to be told.
    pub fn on_datagram(&mut self, datagram: &[u8], now: Instant) -> Result<Step, Error> {
        self.heard_at = now;
        let before = self.side.blocks();
        let effect = match Packet::parse(datagram) {
            Ok(Packet::Error { code, message }) => {
                return Err(Error::Peer { code, message: message.to_vec() });
            }
            Ok(packet) => self.side.receive(packet)?,
            Err(Malformed::Request(_) | Malformed::Unknown) => {
                return Err(Error::illegal("Not a TFTP packet"));
            }
        };
        let blocks = self.side.blocks() - before;
        Ok(match effect {
            Effect::Ignored => Step::Wait,
            Effect::SendNext => {
                self.timer.set_interval(self.side.options().timeout);
                self.timer.on_answer(blocks, now);
                Step::Send
            }
            Effect::Accepted => {
                self.timer.on_blocks(blocks, now);
                Step::Wait
            }
            Effect::Repeat(packet) => {
                self.is_lossless = false;
                self.timer.on_duplicate(now);
                if let Some(dally) = &mut self.dally {
                    dally.until = now + dally.wait;
                }
                Step::Answer(packet)
            }
            Effect::Complete => Step::End,
            Effect::LastBlock => Step::Commit,
        })
    }

    /// Decides what to do when no datagram has come by the deadline.
    ///
    /// # Errors
    /// [`Error::TimedOut`], when the peer was silent for too long.
    pub fn on_deadline(&mut self, now: Instant) -> Result<Step, Error> {
        if let Some(dally) = &self.dally {
            return Ok(if now < dally.until.min(dally.end) { Step::Wait } else { Step::End });
        }
        match self.timer.due(now) {
            Due::Nothing => Ok(Step::Wait),
            Due::Retransmit => {
                self.is_lossless = false;
                self.side.on_retransmit();
                self.timer.on_retransmit(now);
                Ok(Step::Send)
            }
            Due::GiveUp => Err(Error::TimedOut),
        }
    }

    /// Returns when to call [`Transfer::on_deadline`].
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.dally {
            Some(dally) => dally.until.min(dally.end),
            None => self.timer.deadline(),
        }
    }

    /// Notes that the request has come once more, at `at`: the first answer was lost, or the
    /// network has doubled the request. But a client that has answered, and then was silent for
    /// longer than a network holds packets back, has been restarted, and its request is a new one.
    ///
    /// # Errors
    /// [`Error::NewRequest`], when it is.
    pub fn on_repeated_request(&mut self, at: Instant) -> Result<(), Error> {
        let silence = at.saturating_duration_since(self.heard_at);
        if self.peer_has_answered() && silence >= RESTART_SILENCE {
            return Err(Error::NewRequest);
        }
        self.timer.on_repeated_request();
        Ok(())
    }

    /// True once the peer has answered: its address is not forged.
    #[must_use]
    pub fn peer_has_answered(&self) -> bool {
        self.timer.peer_has_answered()
    }

    /// Returns how long an answer usually takes, once one has come.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.timer.round_trip()
    }

    /// Begins to dally `now`, after the last ACK: stays to send it again if it was lost, until the
    /// peer was quiet for `wait`.
    pub fn dally(&mut self, wait: Duration, now: Instant) {
        self.dally = Some(Dally { wait, until: now + wait, end: now + wait * MAX_DALLY });
    }
}
