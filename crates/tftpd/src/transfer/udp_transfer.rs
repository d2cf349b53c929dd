//! One transfer over a UDP socket of its own, from its first packet to its last.
//!
//! Slide "Сценарий работы": the sender of a block waits for its ACK, and only then sends the next
//! one.

use std::time::{Duration, Instant, SystemTime};

use super::busy_poll::BusyPoll;
use super::channel::Channel;
use super::packets::Packets;
use super::side::{Side, Stage};
use super::timer::RetryLimits;
use super::{Step, Transfer};
use crate::error::Error;

/// Interval between checks for a repeated request before the first answer. A repeated request is
/// answered no sooner.
const REQUEST_CHECK: Duration = Duration::from_millis(200);
/// The same after the first answer, when only a restarted client repeats its request. It equals the
/// usual timeout, so SO_RCVTIMEO need not be set again.
const LATE_REQUEST_CHECK: Duration = Duration::from_secs(1);
/// Shortest wait for a datagram before a repeated request is answered, because the ACK of the first
/// answer may be in the socket already.
const MIN_WAIT_BEFORE_REPEAT: Duration = Duration::from_millis(1);

/// Returns when the request was last repeated, and clears it.
pub type RepeatedRequest<'a> = Box<dyn Fn() -> Option<SystemTime> + 'a>;

/// A transfer and the channel to its peer.
pub struct UdpTransfer<'a, S> {
    /// The local side and its timer.
    pub state: Transfer<S>,
    /// The channel to the peer.
    pub channel: Channel<'a>,
    busy_poll: BusyPoll,
    repeated_request: Option<RepeatedRequest<'a>>,
    /// When the last wait ended, with or without a datagram.
    received_at: Instant,
}

impl<'a, S: Side> UdpTransfer<'a, S> {
    /// Creates a transfer, to be started by [`run`](UdpTransfer::run).
    pub fn new(side: S, channel: Channel<'a>, limits: RetryLimits) -> UdpTransfer<'a, S> {
        let now = Instant::now();
        UdpTransfer {
            state: Transfer::new(side, limits, now),
            channel,
            busy_poll: BusyPoll::default(),
            repeated_request: None,
            received_at: now,
        }
    }

    /// Ends the transfer, whose file is closed, and returns its channel.
    #[must_use]
    pub fn into_channel(self) -> Channel<'a> {
        self.channel
    }

    /// Sets the source of repeated requests, which the parent receives.
    #[must_use]
    pub fn with_repeated_requests(self, repeated: RepeatedRequest<'a>) -> UdpTransfer<'a, S> {
        UdpTransfer { repeated_request: Some(repeated), ..self }
    }

    /// Runs the transfer to its end. Sends an ERROR to the peer if this end fails. After success
    /// the receiving end should [`dally`](UdpTransfer::dally).
    ///
    /// # Errors
    /// [`Error`] if the file was not transferred.
    pub fn run(&mut self) -> Result<(), Error> {
        let result = match self.run_steps() {
            Err(Error::PortClosed) => {
                Err(self.channel.error_before_close().unwrap_or(Error::PortClosed))
            }
            result => result,
        };
        if let Err(Error::Denied { code, reason }) = &result {
            self.channel.send_error(*code, reason);
        }
        result
    }

    fn run_steps(&mut self) -> Result<(), Error> {
        let mut step = Step::Send;
        loop {
            match step {
                Step::Wait => (),
                Step::Send => {
                    self.channel.send(self.state.side.packets())?;
                    self.state.on_sent(Instant::now());
                    self.state.work_ahead()?;
                }
                Step::Answer(packet) => self.channel.send(Packets::single(&packet))?,
                Step::Commit => {
                    self.state.side.commit().map_err(|error| Error::from_io(&error))?;
                    return self.channel.send(self.state.side.packets()).or(Ok(()));
                }
                Step::End => return Ok(()),
            }
            step = self.next()?;
        }
    }

    /// Waits for the peer or the timer.
    fn next(&mut self) -> Result<Step, Error> {
        if self.channel.next_in_batch() {
            return self.state.on_datagram(self.channel.datagram(), self.received_at);
        }
        // Timestamps are needed for the packet that may be the last, because the peer may send a
        // new request after it.
        self.channel.set_timestamps(self.state.side.stage() != Stage::Blocks);
        let busy_poll = self.busy_poll.duration(self.state.round_trip());
        let deadline = self.deadline()?;
        let received = self.channel.receive(deadline, busy_poll)?;
        self.received_at = Instant::now();
        if let Some(found) = self.channel.poll_result() {
            self.busy_poll.polled(found);
        }
        if received {
            self.state.on_datagram(self.channel.datagram(), self.received_at)
        } else {
            self.state.on_deadline(self.received_at)
        }
    }

    /// Checks for a repeated request. Returns until when to wait.
    fn deadline(&mut self) -> Result<Instant, Error> {
        let Some(repeated_request) = &self.repeated_request else {
            return Ok(self.state.deadline());
        };
        let answered = self.state.peer_has_answered();
        let check = if answered { LATE_REQUEST_CHECK } else { REQUEST_CHECK };
        let Some(repeated) = repeated_request() else {
            return Ok(self.state.deadline().min(self.received_at + check));
        };
        let (now, ago) = (Instant::now(), repeated.elapsed().unwrap_or_default());
        self.state.on_repeated_request(now.checked_sub(ago).unwrap_or(now))?;
        Ok(self.state.deadline().clamp(now + MIN_WAIT_BEFORE_REPEAT, now + REQUEST_CHECK))
    }

    /// Dallies after the last ACK, to send it again if it was lost. Ends when the peer was silent
    /// for `wait` or its port is closed.
    pub fn dally(&mut self, wait: Duration) {
        self.state.dally(wait, Instant::now());
        self.repeated_request = None;
        loop {
            match self.next() {
                Ok(Step::Answer(packet)) if self.channel.send(Packets::single(&packet)).is_ok() => {
                }
                Ok(Step::Wait) => (),
                _ => return,
            }
        }
    }
}
