//! The retransmission timer: an adaptive timeout with exponential backoff, as RFC 1123 §4.2.3.2
//! requires, modelled on TCP's (RFC 6298, Karn's algorithm).

use std::time::{Duration, Instant};

/// First timeout, before a round-rtt time was measured (RFC 6298 §2.1).
const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest timeout while no packet was lost (RFC 6298 §2.4), because a peer that answers late may
/// be writing to flash.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest timeout on a lossy network, where a second for each lost packet would take too long.
const MIN_TIMEOUT_LOSSY: Duration = Duration::from_millis(200);
/// The same where the round trip is known to be short: eight times as long as it takes, and at least this.
const MIN_TIMEOUT_LOSSY_NEAR: Duration = Duration::from_millis(50);
/// Longest timeout (RFC 6298 §2.5).
const MAX_TIMEOUT: Duration = Duration::from_secs(8);
/// The same on a lossy network, where a packet may have to be sent many times within the time of `--timeout`.
const MAX_TIMEOUT_LOSSY: Duration = Duration::from_secs(2);
/// Granularity of a measured timeout. It rarely changes then, and SO_RCVTIMEO need not be set for
/// every packet.
const GRANULARITY: Duration = Duration::from_millis(10);
/// Shortest wait after the last send. A negotiated timeout of 10 ms would end the transfer while
/// the peer is only slow.
const MIN_LAST_WAIT: Duration = Duration::from_secs(1);
/// The same before the peer has proved its address, when little is sent: its answers may have been lost, and it sends them
/// again. Longer than the longest time-out of usual clients, eight seconds.
const MIN_UNPROVEN_WAIT: Duration = Duration::from_secs(10);
/// Divisor of the timeout: an answer within that fraction of it belongs to the last send.
const PROMPT_DIVISOR: u32 = 8;
/// Time that each block adds to the longest duration of a transfer: 512 bytes at 128 bytes a
/// second. So a slow peer that stays just within the idle limit does not occupy a process for ever.
const TIME_PER_BLOCK: Duration = Duration::from_secs(4);

/// Limits on retransmissions and on the duration of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct RetryLimits {
    /// Most retransmissions of one packet (`--retries`).
    pub retries: u32,
    /// Most sends of the first packet before an answer proves that the peer's address is not
    /// forged.
    pub unproven_sends: u32,
    /// Longest time without progress (`--timeout`).
    pub idle: Duration,
    /// Longest duration of the transfer (`--deadline`), plus four seconds for each block.
    pub whole: Duration,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Wait.
    Nothing,
    /// Send the packet again.
    Retransmit,
    /// End the transfer, because the peer is silent.
    GiveUp,
}

/// The retransmission timer of one transfer. It reads no clock; the caller passes the time.
#[derive(Debug)]
pub struct Timer {
    limits: RetryLimits,
    /// SRTT and RTTVAR of RFC 6298, once a round-rtt time was measured.
    measured: Option<(Duration, Duration)>,
    timeout: Duration,
    /// The negotiated timeout (RFC 2349), in place of the measured one.
    interval: Option<Duration>,
    /// Number of sends of the current packet.
    sends: u32,
    /// When the current packet was last sent.
    sent_at: Instant,
    /// The current packet was sent once, so its answer is a measurement (Karn's algorithm).
    is_measurable: bool,
    /// Packets are being lost, because an answer came soon after a retransmission.
    is_lossy: bool,
    /// When the transfer last made progress.
    progress_at: Instant,
    /// Deadline of the whole transfer.
    end: Instant,
    /// The peer has answered, so its address is not forged.
    peer_has_answered: bool,
    /// The peer has repeated its request, so the first packet is due again soon.
    request_repeated: bool,
    /// How often the peer has repeated its request before it has answered.
    repetitions: u32,
}

impl Timer {
    /// Creates a timer whose first packet is sent `now`.
    #[must_use]
    pub fn new(limits: RetryLimits, now: Instant) -> Timer {
        Timer {
            limits,
            measured: None,
            timeout: INITIAL_TIMEOUT,
            interval: None,
            sends: 1,
            sent_at: now,
            is_measurable: true,
            is_lossy: false,
            progress_at: now,
            end: now + limits.whole,
            peer_has_answered: false,
            request_repeated: false,
            repetitions: 0,
        }
    }

    /// Sets the negotiated timeout (the option `timeout`), if any. Once the peer has answered, the
    /// idle limit is at least twice that timeout.
    pub fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    /// Records that the packets were answered, that `blocks` were transferred, and that the next
    /// packets are sent `now`.
    ///
    /// The answer to a packet sent once is a measurement. After a retransmission it is not, because
    /// the answer may belong to either send (Karn's algorithm). But the doubled timeout is reduced
    /// if the answer came long before it expired, because then packets were lost and the network is
    /// not slower.
    pub fn on_answer(&mut self, blocks: u64, now: Instant) {
        self.on_blocks(blocks, now);
        self.is_measurable = true;
    }

    /// Records that `blocks` were received and nothing is sent, because the window is not complete.
    pub fn on_blocks(&mut self, blocks: u64, now: Instant) {
        let rtt = now.saturating_duration_since(self.sent_at);
        if self.is_measurable {
            self.measure(rtt);
        } else if self.sends > 1 {
            self.reduce_backoff(rtt);
        }
        (self.sends, self.sent_at, self.is_measurable) = (1, now, false);
        (self.progress_at, self.peer_has_answered, self.request_repeated) = (now, true, false);
        self.end += TIME_PER_BLOCK * u32::try_from(blocks.max(1)).unwrap_or(u32::MAX);
    }

    /// Records that sending the packets took until `now`, because a window may have to wait for the
    /// network.
    pub fn on_sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// Records that this process has not read its socket until `now`. An expired timeout begins
    /// again, and the next answer is not a measurement.
    pub fn on_busy(&mut self, now: Instant) {
        if now >= self.deadline() {
            (self.sent_at, self.is_measurable) = (now, false);
        }
    }

    /// Updates SRTT, RTTVAR and the timeout with a measured round-rtt time (RFC 6298 §2.2 and
    /// §2.3).
    fn measure(&mut self, rtt: Duration) {
        let (srtt, rttvar) = match self.measured {
            None => (rtt, rtt / 2),
            Some((srtt, rttvar)) => {
                let off = srtt.abs_diff(rtt);
                (srtt * 7 / 8 + rtt / 8, rttvar * 3 / 4 + off / 4)
            }
        };
        self.measured = Some((srtt, rttvar));
        self.timeout = self.base_timeout();
    }

    /// Returns the measured timeout without backoff, or the shortest timeout if nothing was
    /// measured.
    fn base_timeout(&self) -> Duration {
        let shortest = match self.measured {
            _ if !self.is_lossy => MIN_TIMEOUT,
            Some((srtt, _)) => (srtt * 8).clamp(MIN_TIMEOUT_LOSSY_NEAR, MIN_TIMEOUT_LOSSY),
            None => MIN_TIMEOUT_LOSSY,
        };
        let measured = self.measured.map(|(srtt, rttvar)| srtt + rttvar * 4);
        let raw = measured.unwrap_or(shortest).clamp(shortest, MAX_TIMEOUT);
        let units = raw.as_millis().div_ceil(GRANULARITY.as_millis());
        GRANULARITY * u32::try_from(units).unwrap_or(u32::MAX)
    }

    /// Reduces the backoff after an ambiguous answer, which came `since_send` after the last send
    /// but may belong to an earlier one. If it came soon, it answers the last send, and the earlier
    /// one was lost. Otherwise the backoff stays until a packet that was sent once is answered.
    fn reduce_backoff(&mut self, since_send: Duration) {
        if since_send * PROMPT_DIVISOR < self.timeout {
            self.is_lossy = true;
            self.timeout = self.timeout.min((since_send * 4).max(self.base_timeout()));
        }
    }

    /// Records that the packet is sent again `now`, after [`Due::Retransmit`].
    pub fn on_retransmit(&mut self, now: Instant) {
        let longest =
            if self.is_lossy { MAX_TIMEOUT_LOSSY.max(self.base_timeout()) } else { MAX_TIMEOUT };
        self.timeout = (self.timeout * 2).min(longest);
        self.sends += 1;
        (self.sent_at, self.is_measurable, self.request_repeated) = (now, false, false);
    }

    /// Records that the peer has repeated its request, so the first packet may be lost and is due
    /// before its timeout, and once more than the clock would send it: who forges requests gets one packet for each.
    /// It is not due at once, because the network may have duplicated the request.
    pub fn on_repeated_request(&mut self) {
        if !self.peer_has_answered {
            self.repetitions = self.repetitions.saturating_add(1);
            self.request_repeated = self.sends < self.max_sends();
        }
    }

    /// Returns whether the peer has answered.
    #[must_use]
    pub fn peer_has_answered(&self) -> bool {
        self.peer_has_answered
    }

    /// Records that the peer was sent the same answer again `now`. The timeout begins again because
    /// the peer is alive, but that is no progress.
    pub fn on_duplicate(&mut self, now: Instant) {
        (self.sent_at, self.is_measurable) = (now, false);
        (self.peer_has_answered, self.request_repeated) = (true, false);
    }

    /// Returns the action due `now`.
    #[must_use]
    pub fn due(&self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        if now >= self.give_up_at() || self.sends >= self.max_sends() {
            return Due::GiveUp;
        }
        Due::Retransmit
    }

    /// Returns the limit on sends of the current packet.
    fn max_sends(&self) -> u32 {
        let sends = self.limits.retries.saturating_add(1);
        let unproven = self.limits.unproven_sends.saturating_add(self.repetitions);
        if self.peer_has_answered { sends } else { sends.min(unproven) }
    }

    /// Returns when the next action is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let wait = match self.interval.unwrap_or(self.timeout) {
            wait if self.request_repeated => wait.min(MIN_TIMEOUT_LOSSY),
            wait if self.sends > self.limits.retries => wait.max(MIN_LAST_WAIT),
            wait if self.sends >= self.max_sends() => wait.max(MIN_UNPROVEN_WAIT),
            wait => wait,
        };
        (self.sent_at + wait).min(self.give_up_at())
    }

    /// Returns the smoothed round-rtt time, once one was measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.measured.map(|(srtt, _)| srtt)
    }

    /// Returns when the transfer ends for lack of progress, or because it takes too long.
    fn give_up_at(&self) -> Instant {
        let interval = self.interval.filter(|_| self.peer_has_answered).unwrap_or_default();
        (self.progress_at + self.limits.idle.max(interval * 2)).min(self.end)
    }
}

#[cfg(test)]
mod tests;
