//! One transfer: a sender or a receiver, and a timer. [`Transfer`] has no socket, so that a process
//! can have one transfer or many. [`udp_transfer`] runs one over a socket of its own.

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

/// Longest dallying (RFC 1350 §6) while the peer repeats its last block, as a multiple of the wait
/// for a silent peer.
const MAX_DALLY: u32 = 5;
/// Least silence of a peer after which an identical request is a new one. Networks delay duplicates
/// less than that.
const RESTART_SILENCE: Duration = Duration::from_secs(2);
/// Longest round trip of a fast peer: reading the next window takes a part of that.
const FAST: Duration = Duration::from_millis(1);

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for a datagram, until [`Transfer::deadline`] at the latest.
    Wait,
    /// Send the side's packets.
    Send,
    /// Send this packet.
    Answer([u8; HEADER]),
    /// Commit the file, then send the side's packet and end, or fail with an ERROR.
    Commit,
    /// End with success.
    End,
}

/// One transfer.
#[derive(Debug)]
pub struct Transfer<S> {
    /// The local side.
    pub side: S,
    timer: Timer,
    /// Datagrams of the peer that were dropped, because they were no packets, or of a kind that is not expected.
    pub unexpected: u64,
    /// Every packet was sent once and received once so far.
    pub is_lossless: bool,
    dally: Option<Dally>,
    /// When the peer's last datagram arrived.
    last_received_at: Instant,
}

/// The time after the last ACK, in case it is lost: "dallying is encouraged" (RFC 1350 §6).
#[derive(Debug)]
struct Dally {
    wait: Duration,
    until: Instant,
    end: Instant,
}

impl<S: Side> Transfer<S> {
    /// Creates a transfer whose first packets are sent `now`.
    pub fn new(side: S, limits: RetryLimits, now: Instant) -> Transfer<S> {
        let mut timer = Timer::new(limits, now);
        timer.set_interval(side.options().timeout);
        Transfer {
            side,
            timer,
            unexpected: 0,
            is_lossless: true,
            dally: None,
            last_received_at: now,
        }
    }

    /// Records that the side's packets were sent, which took until `now`.
    pub fn on_sent(&mut self, now: Instant) {
        self.timer.on_sent(now);
    }

    /// Lets the side work ahead while the peer is busy with the packets just sent.
    ///
    /// # Errors
    /// As [`Side::work_ahead`].
    pub fn work_ahead(&mut self) -> Result<(), Error> {
        let nothing_was_lost = self.is_lossless && self.side.retransmissions() == 0;
        let is_fast = nothing_was_lost && self.round_trip().is_some_and(|time| time < FAST);
        if self.side.work_ahead(is_fast)? {
            self.timer.on_busy(Instant::now());
        }
        Ok(())
    }

    /// Handles a datagram from the peer. A transfer ends by an ERROR of the peer, by DATA larger than agreed, or by
    /// the clock; any other datagram that does not fit is dropped.
    ///
    /// # Errors
    /// [`Error`] if the transfer fails. The caller sends an [`Error::Denied`] to the peer.
    pub fn on_datagram(&mut self, datagram: &[u8], now: Instant) -> Result<Step, Error> {
        self.last_received_at = now;
        let before = self.side.blocks();
        let effect = match Packet::parse(datagram) {
            Ok(Packet::Error { code, message }) => {
                return Err(Error::Peer { code, message: message.to_vec() });
            }
            Ok(packet) => self.side.receive(packet)?,
            Err(Malformed::Request(_) | Malformed::Unknown) => Effect::Unexpected,
        };
        let blocks = self.side.blocks() - before;
        Ok(match effect {
            Effect::Ignored => Step::Wait,
            Effect::Unexpected => {
                self.unexpected += 1;
                Step::Wait
            }
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

    /// Returns the next action when the deadline has passed without a datagram.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the peer was silent beyond the limits.
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

    /// Records that the request was repeated at `at`. Usually the first answer was lost, or the
    /// network has duplicated the request. But if the client had answered and was then silent for
    /// `RESTART_SILENCE`, it was restarted and its request is a new one.
    ///
    /// # Errors
    /// [`Error::NewRequest`] if it is a new request.
    pub fn on_repeated_request(&mut self, at: Instant) -> Result<(), Error> {
        let silence = at.saturating_duration_since(self.last_received_at);
        if self.peer_has_answered() && silence >= RESTART_SILENCE {
            return Err(Error::NewRequest);
        }
        self.timer.on_repeated_request();
        Ok(())
    }

    /// Returns whether the peer has answered, which proves that its address is not forged.
    #[must_use]
    pub fn peer_has_answered(&self) -> bool {
        self.timer.peer_has_answered()
    }

    /// Returns the smoothed round-trip time, once one was measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.timer.round_trip()
    }

    /// Begins to dally `now`, after the last ACK, to send it again if it was lost. Dallying ends
    /// when the peer was silent for `wait`.
    pub fn dally(&mut self, wait: Duration, now: Instant) {
        self.dally = Some(Dally { wait, until: now + wait, end: now + wait * MAX_DALLY });
    }
}
