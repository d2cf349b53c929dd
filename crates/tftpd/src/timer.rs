//! When a packet is sent again, and when to give up: an adaptive time-out with exponential
//! backoff, as RFC 1123 §4.2.3.2 requires, after TCP's (RFC 6298; Karn's rule).

use std::time::{Duration, Instant};

/// The first time-out, before any round trip was measured (RFC 6298 §2.1).
const INITIAL: Duration = Duration::from_secs(1);
/// No time-out is shorter as long as nothing was lost (RFC 6298 §2.4): a peer that answers late writes to
/// flash, or its scheduler looks away.
const CALM: Duration = Duration::from_secs(1);
/// No time-out is shorter where packets are lost: there a second for each would be long.
const SHORTEST: Duration = Duration::from_millis(200);
/// No time-out is longer, however often it was doubled.
const LONGEST: Duration = Duration::from_secs(8);
/// A time-out is a multiple of this, so that it rarely changes while a transfer runs smoothly
/// and the socket's own time-out need not be set for every packet.
const GRAIN: Duration = Duration::from_millis(10);

/// After the last send the peer has so long at least to answer it, though a shorter time-out was
/// agreed upon: one of a hundredth of a second would end a transfer while the peer takes a breath.
const LAST: Duration = Duration::from_secs(1);

/// An answer within this part of the time-out came soon.
const SOON: u32 = 8;

/// What each step forward adds to the time that a transfer may last: a block of 512 octets, at 128
/// octets a second. A peer that dawdles just within the idle limit does not keep a process for ever.
const STEP: Duration = Duration::from_secs(4);

/// The bounds of a transfer's patience.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How often one packet is sent again (`--retries`).
    pub retries: u32,
    /// How often the first packet is sent in all, before the peer has proved by an answer that
    /// its address is not forged.
    pub unproven_sends: u32,
    /// How long nothing may go forward (`--timeout`).
    pub idle: Duration,
    /// How long the whole transfer may last (`--deadline`), and four seconds more for each block.
    pub whole: Duration,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: wait.
    Nothing,
    /// Send the packet again.
    Again,
    /// The peer is silent.
    GiveUp,
}

/// The clock of one transfer. It reads no clock itself: every call is told the time.
#[derive(Debug)]
pub struct Timer {
    limits: Limits,
    /// Smoothed round trip and its variation, once one was measured.
    measured: Option<(Duration, Duration)>,
    timeout: Duration,
    /// The time-out that both ends have agreed upon (RFC 2349), in place of all that is measured.
    fixed: Option<Duration>,
    /// How often the present packet was sent.
    sends: u32,
    /// When the present packet was sent last.
    sent: Instant,
    /// Only one packet went out that the next answer can belong to.
    clean: bool,
    /// Something was lost, for when it was sent again the answer came soon.
    lossy: bool,
    /// When the transfer last went forward.
    forward: Instant,
    /// When the transfer ends, done or not.
    end: Instant,
    /// The peer has answered: its address is real.
    proven: bool,
    /// The peer has sent its request again, so the first packet is wanted again soon.
    asked: bool,
}

impl Timer {
    /// A clock whose first packet is sent `now`.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Timer {
        Timer {
            limits,
            measured: None,
            timeout: INITIAL,
            fixed: None,
            sends: 1,
            sent: now,
            clean: true,
            lossy: false,
            forward: now,
            end: now + limits.whole,
            proven: false,
            asked: false,
        }
    }

    /// From now on every time-out is as long as this, where it is given: the option `timeout`. The
    /// idle limit is then twice as long at least, for a peer that has answered.
    pub fn fix(&mut self, interval: Option<Duration>) {
        self.fixed = interval;
    }

    /// The packets were answered, so many blocks went forward, and the next ones are sent `now`.
    ///
    /// An answer to a packet sent once is a measurement; one to a packet sent twice may belong
    /// to either (Karn's rule) and is none. But the doubled time-out need not stay for it: if the
    /// answer came long before it was over, packets were lost, and the network is no slower.
    pub fn forward(&mut self, blocks: u64, now: Instant) {
        self.taken(blocks, now);
        self.clean = true;
    }

    /// The same without anything being sent: more blocks of a window are to come.
    pub fn taken(&mut self, blocks: u64, now: Instant) {
        let trip = now.saturating_duration_since(self.sent);
        if self.clean {
            self.measure(trip);
        } else if self.sends > 1 {
            self.relent(trip);
        }
        (self.sends, self.sent, self.clean) = (1, now, false);
        (self.forward, self.proven, self.asked) = (now, true, false);
        self.end += STEP * u32::try_from(blocks.max(1)).unwrap_or(u32::MAX);
    }

    /// To send the packets took until `now`: a window may have to wait for the network.
    pub fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Nobody has looked for an answer until `now`: a time-out that is over begins anew, and so much
    /// less is known of the peer.
    pub fn free(&mut self, now: Instant) {
        if now >= self.deadline() {
            (self.sent, self.clean) = (now, false);
        }
    }

    /// RFC 6298 §2.2 and §2.3, with the bounds above.
    fn measure(&mut self, trip: Duration) {
        let (smooth, variation) = match self.measured {
            None => (trip, trip / 2),
            Some((smooth, variation)) => {
                let off = smooth.abs_diff(trip);
                (smooth * 7 / 8 + trip / 8, variation * 3 / 4 + off / 4)
            }
        };
        self.measured = Some((smooth, variation));
        self.timeout = self.least();
    }

    /// The time-out that was measured, without any doubling; or the shortest.
    fn least(&self) -> Duration {
        let shortest = if self.lossy { SHORTEST } else { CALM };
        let measured = self.measured.map(|(smooth, variation)| smooth + variation * 4);
        let raw = measured.unwrap_or(shortest).clamp(shortest, LONGEST);
        let grains = raw.as_millis().div_ceil(GRAIN.as_millis());
        GRAIN * u32::try_from(grains).unwrap_or(u32::MAX)
    }

    /// So long after the last send an answer came that may belong to an earlier one. Soon after is
    /// rather its own. Where it is not, some packets are sent once too often, until a time-out is
    /// long enough for one that is sent once.
    fn relent(&mut self, since: Duration) {
        if since * SOON < self.timeout {
            self.lossy = true;
            self.timeout = self.timeout.min((since * 4).max(self.least()));
        }
    }

    /// The packet is sent again `now`, because it is [`Due::Again`].
    pub fn again(&mut self, now: Instant) {
        self.timeout = (self.timeout * 2).min(LONGEST);
        self.sends += 1;
        (self.sent, self.clean, self.asked) = (now, false, false);
    }

    /// The peer has sent its request once more, and may not have got the first packet: it need not
    /// wait for our clock. That is one of the few sends there are before it has answered; and not at
    /// once, for the network may have doubled the request.
    pub fn asked_again(&mut self) {
        self.asked = !self.proven && self.sends < self.most_sends();
    }

    /// True once the peer has answered.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// The peer asked for the same answer once more and got it `now`: it is alive, there is no
    /// need to call soon. That is no step forward.
    pub fn repeated(&mut self, now: Instant) {
        (self.sent, self.clean) = (now, false);
        (self.proven, self.asked) = (true, false);
    }

    /// What is to be done `now`.
    #[must_use]
    pub fn due(&self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        if now >= self.limit() || self.sends >= self.most_sends() {
            return Due::GiveUp;
        }
        Due::Again
    }

    /// How often the present packet may be sent in all.
    fn most_sends(&self) -> u32 {
        let sends = self.limits.retries.saturating_add(1);
        if self.proven { sends } else { sends.min(self.limits.unproven_sends) }
    }

    /// When something will be due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let wait = match self.fixed.unwrap_or(self.timeout) {
            wait if self.asked => wait.min(SHORTEST),
            wait if self.sends >= self.most_sends() => wait.max(LAST),
            wait => wait,
        };
        (self.sent + wait).min(self.limit())
    }

    /// The smoothed round trip, once one was measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.measured.map(|(smooth, _)| smooth)
    }

    /// The end of our patience, whatever is sent again until then.
    fn limit(&self) -> Instant {
        let interval = self.fixed.filter(|_| self.proven).unwrap_or_default();
        (self.forward + self.limits.idle.max(interval * 2)).min(self.end)
    }
}

#[cfg(test)]
mod tests;
