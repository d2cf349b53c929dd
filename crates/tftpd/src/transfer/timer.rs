//! When a packet is sent again, and when to give up: an adaptive time-out with exponential
//! backoff, as RFC 1123 §4.2.3.2 requires, after TCP's (RFC 6298; Karn's rule).

use std::time::{Duration, Instant};

/// First time-out, before any round trip was measured (RFC 6298 §2.1).
const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest time-out as long as nothing was lost (RFC 6298 §2.4): a peer that answers late is
/// writing to flash, or not scheduled.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest time-out where packets are lost: there a second for each would take too long.
const MIN_TIMEOUT_LOSSY: Duration = Duration::from_millis(200);
/// Longest time-out, however often it was doubled (RFC 6298 §2.5).
const MAX_TIMEOUT: Duration = Duration::from_secs(8);
/// Every measured time-out is a multiple of this, so that it rarely changes while a transfer runs
/// smoothly and the socket's own time-out need not be set for every packet.
const GRANULARITY: Duration = Duration::from_millis(10);
/// Shortest wait after the last send, whatever time-out was agreed upon: one of a hundredth of a
/// second would end the transfer while the peer is only slow.
const MIN_LAST_WAIT: Duration = Duration::from_secs(1);
/// An answer within this fraction of the time-out belongs to the last send.
const SOON: u32 = 8;
/// Time that each block adds to the longest duration of a transfer: a block of 512 bytes, at 128
/// bytes a second. So a slow peer that stays just within the idle limit does not keep a process for
/// ever.
const TIME_PER_BLOCK: Duration = Duration::from_secs(4);

/// How often and how long to try.
#[derive(Clone, Copy, Debug)]
pub struct RetryLimits {
    /// Most retransmissions of one packet (`--retries`).
    pub retries: u32,
    /// Most sends of the first packet, as long as no answer proves that the peer's address is not
    /// forged.
    pub unproven_sends: u32,
    /// Longest time without progress (`--timeout`).
    pub idle: Duration,
    /// Longest time of the whole transfer (`--deadline`), to which each block adds four seconds.
    pub whole: Duration,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: wait.
    Nothing,
    /// Send the packet again.
    Retransmit,
    /// End the transfer: the peer is silent.
    GiveUp,
}

/// The retransmission timer of one transfer. It reads no clock: every call is told the time.
#[derive(Debug)]
pub struct Timer {
    limits: RetryLimits,
    /// Smoothed round trip and its variation, once one was measured.
    measured: Option<(Duration, Duration)>,
    timeout: Duration,
    /// The time-out that both ends have agreed upon (RFC 2349), in place of the measured one.
    interval: Option<Duration>,
    /// Sends of the present packet.
    sends: u32,
    /// When the present packet was sent last.
    sent_at: Instant,
    /// The next answer can belong to one packet only, so it is a measurement (Karn's rule).
    is_measurable: bool,
    /// Packets get lost: the answer came soon after a retransmission.
    is_lossy: bool,
    /// When the transfer last went forward.
    progress_at: Instant,
    /// When the transfer ends, done or not.
    end: Instant,
    /// The peer has answered: its address is not forged.
    peer_has_answered: bool,
    /// The peer has repeated its request, so the first packet is wanted again soon.
    request_repeated: bool,
}

impl Timer {
    /// Makes a timer whose first packet is sent `now`.
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
        }
    }

    /// Sets the time-out that was agreed upon, if there is one: the option `timeout`. The idle
    /// limit is then at least twice as long, for a peer that has answered.
    pub fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    /// Notes that the packets were answered, that `blocks` went forward, and that the next ones are
    /// sent `now`.
    ///
    /// An answer to a packet sent once is a measurement; one to a packet sent twice may belong
    /// to either (Karn's rule) and is none. But the doubled time-out need not stay for it: if the
    /// answer came long before it was over, packets were lost, and the network is no slower.
    pub fn on_answer(&mut self, blocks: u64, now: Instant) {
        self.on_blocks(blocks, now);
        self.is_measurable = true;
    }

    /// Notes that `blocks` have come and nothing is sent, because more of the window are to come.
    pub fn on_blocks(&mut self, blocks: u64, now: Instant) {
        let trip = now.saturating_duration_since(self.sent_at);
        if self.is_measurable {
            self.measure(trip);
        } else if self.sends > 1 {
            self.reduce_backoff(trip);
        }
        (self.sends, self.sent_at, self.is_measurable) = (1, now, false);
        (self.progress_at, self.peer_has_answered, self.request_repeated) = (now, true, false);
        self.end += TIME_PER_BLOCK * u32::try_from(blocks.max(1)).unwrap_or(u32::MAX);
    }

    /// Notes that sending the packets took until `now`: a window may have to wait for the network.
    pub fn on_sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// Notes that this process has not read its socket until `now`: a time-out that is over begins
    /// again, and the next answer is no measurement.
    pub fn on_busy(&mut self, now: Instant) {
        if now >= self.deadline() {
            (self.sent_at, self.is_measurable) = (now, false);
        }
    }

    /// Measures a round trip (RFC 6298 §2.2 and §2.3), with the bounds above.
    fn measure(&mut self, trip: Duration) {
        let (smooth, variation) = match self.measured {
            None => (trip, trip / 2),
            Some((smooth, variation)) => {
                let off = smooth.abs_diff(trip);
                (smooth * 7 / 8 + trip / 8, variation * 3 / 4 + off / 4)
            }
        };
        self.measured = Some((smooth, variation));
        self.timeout = self.base_timeout();
    }

    /// Returns the measured time-out without any doubling, or the shortest.
    fn base_timeout(&self) -> Duration {
        let shortest = if self.is_lossy { MIN_TIMEOUT_LOSSY } else { MIN_TIMEOUT };
        let measured = self.measured.map(|(smooth, variation)| smooth + variation * 4);
        let raw = measured.unwrap_or(shortest).clamp(shortest, MAX_TIMEOUT);
        let grains = raw.as_millis().div_ceil(GRANULARITY.as_millis());
        GRANULARITY * u32::try_from(grains).unwrap_or(u32::MAX)
    }

    /// Takes back a doubling after an answer that came `since` the last send and may belong to an
    /// earlier one. If it came soon, it rather belongs to the last. If it did not, some packets are
    /// sent once too often, until a time-out is long enough for one that is sent once.
    fn reduce_backoff(&mut self, since: Duration) {
        if since * SOON < self.timeout {
            self.is_lossy = true;
            self.timeout = self.timeout.min((since * 4).max(self.base_timeout()));
        }
    }

    /// Notes that the packet is sent again `now`, because it is [`Due::Retransmit`].
    pub fn on_retransmit(&mut self, now: Instant) {
        self.timeout = (self.timeout * 2).min(MAX_TIMEOUT);
        self.sends += 1;
        (self.sent_at, self.is_measurable, self.request_repeated) = (now, false, false);
    }

    /// Notes that the peer has repeated its request, and may not have got the first packet, which
    /// then need not wait for the time-out. That is one of the few sends before the peer has
    /// answered; and not at once, because the network may have doubled the request.
    pub fn on_repeated_request(&mut self) {
        self.request_repeated = !self.peer_has_answered && self.sends < self.max_sends();
    }

    /// True once the peer has answered.
    #[must_use]
    pub fn peer_has_answered(&self) -> bool {
        self.peer_has_answered
    }

    /// Notes that the peer needed the same answer once more and got it `now`: it is alive, so the
    /// time-out begins again. That is no step forward.
    pub fn on_duplicate(&mut self, now: Instant) {
        (self.sent_at, self.is_measurable) = (now, false);
        (self.peer_has_answered, self.request_repeated) = (true, false);
    }

    /// Returns what is to be done `now`.
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

    /// Returns the most sends of the present packet.
    fn max_sends(&self) -> u32 {
        let sends = self.limits.retries.saturating_add(1);
        if self.peer_has_answered { sends } else { sends.min(self.limits.unproven_sends) }
    }

    /// Returns when something will be due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let wait = match self.interval.unwrap_or(self.timeout) {
            wait if self.request_repeated => wait.min(MIN_TIMEOUT_LOSSY),
            wait if self.sends >= self.max_sends() => wait.max(MIN_LAST_WAIT),
            wait => wait,
        };
        (self.sent_at + wait).min(self.give_up_at())
    }

    /// Returns the smoothed round trip, once one was measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.measured.map(|(smooth, _)| smooth)
    }

    /// Returns when the transfer ends for lack of progress, or because it lasted too long.
    fn give_up_at(&self) -> Instant {
        let interval = self.interval.filter(|_| self.peer_has_answered).unwrap_or_default();
        (self.progress_at + self.limits.idle.max(interval * 2)).min(self.end)
    }
}

#[cfg(test)]
mod tests;
