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
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        retries: 5,
        unproven_sends: 3,
        idle: Duration::from_secs(60),
        whole: Duration::from_secs(60),
    };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Lets the clock run with nobody answering: the times of all sends after the first, and
    /// of giving up.
    fn silence(timer: &mut Timer, start: Instant) -> Vec<u128> {
        let mut times = Vec::new();
        loop {
            let now = timer.deadline();
            times.push(now.duration_since(start).as_millis());
            match timer.due(now) {
                Due::Again => timer.again(now),
                Due::GiveUp => return times,
                Due::Nothing => panic!("nothing is due at the deadline"),
            }
        }
    }

    #[test]
    fn an_address_that_never_answered_gets_three_packets() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        assert_eq!(silence(&mut timer, start), [1000, 3000, 7000]);
    }

    #[test]
    fn retries_are_bounded_with_backoff_up_to_a_longest() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.forward(1, start + ms(1));
        let start = start + ms(1);
        assert_eq!(silence(&mut timer, start), [1000, 3000, 7000, 15000, 23000, 31000]);
        let forever = ms(999_000);
        let patient = Limits { retries: 8, unproven_sends: 9, idle: forever, whole: forever };
        let mut timer = Timer::new(patient, start);
        let times = silence(&mut timer, start);
        assert_eq!(times, [1000, 3000, 7000, 15000, 23000, 31000, 39000, 47000, 55000]);
    }

    #[test]
    fn the_idle_limit_ends_the_silence_even_between_two_sends() {
        let start = Instant::now();
        let mut timer = Timer::new(Limits { idle: ms(2500), ..LIMITS }, start);
        assert_eq!(silence(&mut timer, start), [1000, 2500]);
    }

    #[test]
    fn the_time_out_follows_the_round_trip() {
        let mut now = Instant::now();
        let mut timer = Timer::new(LIMITS, now);
        for _ in 0..50 {
            now += ms(1500);
            timer.forward(1, now);
        }
        let wait = timer.deadline().duration_since(now);
        assert!(wait >= ms(1500) && wait < ms(1600), "{wait:?}");
        for _ in 0..50 {
            now += ms(1);
            timer.forward(1, now);
        }
        assert_eq!(timer.deadline().duration_since(now), CALM);
    }

    #[test]
    fn the_time_out_is_a_second_at_least_until_something_was_lost() {
        let mut now = Instant::now();
        let mut timer = Timer::new(LIMITS, now);
        timer.forward(1, now + ms(1));
        assert_eq!(timer.deadline(), now + ms(1) + CALM);
        now = timer.deadline();
        timer.again(now);
        timer.forward(1, now + ms(400));
        assert_eq!(timer.deadline(), now + ms(400) + CALM * 2, "the peer took its time");
        now = timer.deadline();
        timer.again(now);
        timer.forward(1, now + ms(1));
        assert_eq!(timer.deadline(), now + ms(1) + SHORTEST, "a packet was lost");
    }

    #[test]
    fn an_agreed_time_out_is_kept_and_not_doubled() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.fix(Some(ms(700)));
        timer.forward(1, start);
        assert_eq!(silence(&mut timer, start), [700, 1400, 2100, 2800, 3500, 4500]);
        let mut timer = Timer::new(Limits { idle: ms(30_000), ..LIMITS }, start);
        timer.fix(Some(ms(20_000)));
        assert_eq!(silence(&mut timer, start), [20_000, 30_000], "nobody has answered yet");
        timer.forward(1, start);
        assert_eq!(silence(&mut timer, start), [20_000, 40_000]);
    }

    #[test]
    fn the_last_send_has_a_second_to_be_answered_at_least() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.fix(Some(ms(10)));
        timer.forward(1, start);
        assert_eq!(silence(&mut timer, start), [10, 20, 30, 40, 50, 1050]);
        let mut timer = Timer::new(Limits { retries: 0, ..LIMITS }, start);
        timer.forward(1, start + ms(1));
        assert_eq!(silence(&mut timer, start + ms(1)), [1000]);
    }

    #[test]
    fn a_request_that_comes_again_is_answered_before_the_clock_would_but_three_times_at_most() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.asked_again();
        assert_eq!(timer.deadline(), start + SHORTEST, "the network may have doubled it");
        let now = start + ms(500);
        assert_eq!(timer.due(now), Due::Again);
        timer.again(now);
        assert_eq!(timer.deadline(), now + ms(2000), "once for each time");
        timer.asked_again();
        let now = now + ms(300);
        timer.again(now);
        timer.asked_again();
        assert_eq!(timer.deadline(), now + ms(4000), "this was the third");
        let now = timer.deadline();
        assert_eq!(timer.due(now), Due::GiveUp);
        let mut timer = Timer::new(LIMITS, start);
        timer.forward(1, start);
        timer.asked_again();
        assert_eq!(timer.deadline(), start + CALM);
        timer.fix(Some(ms(5000)));
        assert_eq!(timer.deadline(), start + ms(5000), "who has answered has got it");
    }

    #[test]
    fn blocks_that_come_in_a_window_hold_the_time_out_off() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.taken(1, start + ms(500));
        timer.taken(1, start + ms(900));
        assert_eq!(timer.round_trip(), Some(ms(500)), "the first one of the window counts");
        assert_eq!(timer.deadline(), start + ms(900) + ms(1500));
    }

    #[test]
    fn a_time_out_that_nobody_could_hear_the_answer_in_begins_anew() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.free(start + ms(900));
        assert_eq!(timer.deadline(), start + ms(1000));
        timer.free(start + ms(5000));
        assert_eq!(timer.due(start + ms(5999)), Due::Nothing);
        timer.forward(1, start + ms(5001));
        assert_eq!(timer.round_trip(), None, "the answer may have come long before");
        assert_eq!(timer.due(start + ms(5001) + INITIAL), Due::Again);
    }

    #[test]
    fn an_answer_to_a_packet_sent_twice_is_no_measurement() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        let now = timer.deadline();
        timer.again(now);
        timer.forward(1, now + ms(1));
        assert_eq!(timer.deadline(), now + ms(1) + SHORTEST, "and the doubled time-out is over");
        timer.forward(1, now + ms(2));
        assert_eq!(timer.deadline(), now + ms(2) + SHORTEST);
    }

    #[test]
    fn a_network_slower_than_the_first_time_out_is_learnt_from_a_few_packets() {
        for trip in [1010, 1500, 2900, 5000] {
            let mut now = Instant::now();
            let mut timer = Timer::new(LIMITS, now);
            let mut too_often = 0;
            for _ in 0..10 {
                let answer = now + ms(trip);
                while timer.due(answer) == Due::Again {
                    let due = timer.deadline();
                    timer.again(due);
                    too_often += 1;
                }
                now = answer;
                timer.forward(1, now);
            }
            assert!(too_often <= 4, "{too_often} needless sends at {trip} ms");
            assert!(timer.deadline() - now >= ms(trip));
        }
    }

    #[test]
    fn an_answer_after_a_repeated_packet_is_no_measurement() {
        let start = Instant::now();
        let mut timer = Timer::new(LIMITS, start);
        timer.repeated(start + ms(10));
        timer.forward(1, start + ms(20));
        assert_eq!(timer.deadline(), start + ms(20) + INITIAL);
    }

    #[test]
    fn a_peer_that_dawdles_within_the_idle_limit_does_not_stay_for_ever() {
        let start = Instant::now();
        let pace = |wait: Duration| {
            let mut timer = Timer::new(LIMITS, start);
            let mut now = start;
            (0..10_000).all(|_| {
                now += wait;
                let in_time = timer.due(now) != Due::GiveUp;
                timer.forward(1, now);
                in_time
            })
        };
        assert!(pace(ms(3900)), "slow but steady");
        assert!(!pace(ms(5000)));
    }

    #[test]
    fn a_peer_that_only_repeats_itself_reaches_the_idle_limit() {
        let start = Instant::now();
        let mut timer = Timer::new(Limits { idle: ms(3000), ..LIMITS }, start);
        let mut now = start;
        while timer.due(now) == Due::Nothing {
            now += ms(100);
            timer.repeated(now);
        }
        assert_eq!(now, start + ms(3000));
        assert_eq!(timer.due(now), Due::GiveUp);
    }
}
