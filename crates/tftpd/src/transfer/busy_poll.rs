//! Busy polling: receiving without going to sleep, where an answer comes at once.
//!
//! In lock step each end sleeps while the other works, and to be woken takes a processor longer than
//! everything else in a round: on one machine, or between two on a fast network, the answer is there
//! sooner than sleep would have begun. So a process whose peer answers that fast polls for as long as
//! an answer usually takes, and sleeps only then. Where that is in vain, because the peer waits for
//! this very processor, it stops polling for a number of waits, and for more of them each time.

use std::time::Duration;

/// Longest usual wait that is polled through: no more than what a sleep and a wake-up cost.
const MAX_USUAL: Duration = Duration::from_micros(100);
/// Waits of a process before it polls: what was measured once says little, and clients that fetch
/// many small files at once need the processor.
const WARM_UP: u32 = 2;
/// How many polls in vain, one after the other, turn polling off.
const MAX_MISSES: u32 = 3;
/// For how many waits polling is off: the first time, and at most.
const BACK_OFF: std::ops::RangeInclusive<u32> = 500..=500 << 7;

/// Decides whether a process polls before it sleeps.
#[derive(Debug, Default)]
pub struct BusyPoll {
    waits: u32,
    misses: u32,
    /// Waits until polling is on again.
    off: u32,
    /// Length of the last back-off, if no poll has found anything since.
    backed_off: u32,
}

impl BusyPoll {
    /// Returns how long to poll in the next wait, where waits usually take this long.
    pub fn duration(&mut self, usual: Option<Duration>) -> Duration {
        self.waits = self.waits.saturating_add(1);
        self.off = self.off.saturating_sub(1);
        let is_short =
            |usual: &Duration| *usual <= MAX_USUAL && self.waits > WARM_UP && self.off == 0;
        usual.filter(is_short).map_or(Duration::ZERO, |usual| usual * 2)
    }

    /// Notes whether a poll has found something. What the first look finds says nothing and is not to
    /// be noted: the peer may have had this very processor in the meantime.
    pub fn polled(&mut self, found: bool) {
        if found {
            (self.misses, self.backed_off) = (0, 0);
            return;
        }
        self.misses += 1;
        if self.misses == MAX_MISSES {
            self.backed_off = (self.backed_off * 2).clamp(*BACK_OFF.start(), *BACK_OFF.end());
            (self.misses, self.off) = (0, self.backed_off);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Option<Duration> = Some(Duration::from_micros(40));

    fn warm() -> BusyPoll {
        BusyPoll { waits: WARM_UP, ..BusyPoll::default() }
    }

    #[test]
    fn only_short_round_trips_are_waited_for_awake_and_not_the_first_ones() {
        let mut busy_poll = BusyPoll::default();
        assert!((0..WARM_UP).all(|_| busy_poll.duration(TRIP).is_zero()));
        assert_eq!(busy_poll.duration(TRIP), Duration::from_micros(80));
        assert!(busy_poll.duration(Some(Duration::from_micros(150))).is_zero());
        assert!(busy_poll.duration(None).is_zero());
    }

    #[test]
    fn who_looks_in_vain_sleeps_for_a_while_and_then_for_longer() {
        let mut busy_poll = warm();
        let mut poll = |found: &[bool]| {
            for found in found {
                assert!(!busy_poll.duration(TRIP).is_zero());
                busy_poll.polled(*found);
            }
            (1..).find(|_| !busy_poll.duration(TRIP).is_zero()).unwrap()
        };
        assert_eq!(poll(&[false, false, true, false, false, false]), 500);
        assert_eq!(poll(&[false, false, false]), 1000);
        assert_eq!(poll(&[true, false, false]), 1);
    }
}
