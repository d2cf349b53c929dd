//! Busy polling: receives without sleeping if an answer usually arrives at once.
//!
//! In lock step each end sleeps while the other works, and a wake-up takes longer than everything
//! else in a round trip. On one machine or a fast network the answer arrives before the process
//! would be asleep. So a process whose peer answers that fast polls for twice the typical wait, and
//! then sleeps. If polling finds nothing, because the peer needs this processor, it is turned
//! off for a number of waits, which doubles each time.

use std::time::Duration;

/// Longest typical wait with polling: about the cost of a sleep and a wake-up.
const MAX_TYPICAL: Duration = Duration::from_micros(100);
/// Waits of a process before it polls. One measurement is unreliable, and clients that fetch many
/// small files at once need the processor.
const WARM_UP: u32 = 2;
/// Consecutive unsuccessful polls that turn polling off.
const MAX_MISSES: u32 = 3;
/// First and longest pause, as a number of waits without polling.
const BACK_OFF: std::ops::RangeInclusive<u32> = 500..=500 << 7;

/// Decides whether a process polls before it sleeps.
#[derive(Debug, Default)]
pub struct BusyPoll {
    waits: u32,
    misses: u32,
    /// Waits left until polling is on again.
    waits_off: u32,
    /// Length of the last pause, 0 after a successful poll.
    last_back_off: u32,
}

impl BusyPoll {
    /// Returns how long to poll in the next wait, given the typical duration of a wait.
    pub fn duration(&mut self, typical: Option<Duration>) -> Duration {
        self.waits = self.waits.saturating_add(1);
        self.waits_off = self.waits_off.saturating_sub(1);
        let is_short = |typical: &Duration| {
            *typical <= MAX_TYPICAL && self.waits > WARM_UP && self.waits_off == 0
        };
        typical.filter(is_short).map_or(Duration::ZERO, |typical| typical * 2)
    }

    /// Records whether polling found a datagram. A datagram found by the first poll must not be
    /// recorded, because the peer may have used this processor before.
    pub fn polled(&mut self, found: bool) {
        if found {
            (self.misses, self.last_back_off) = (0, 0);
            return;
        }
        self.misses += 1;
        if self.misses == MAX_MISSES {
            self.last_back_off = (self.last_back_off * 2).clamp(*BACK_OFF.start(), *BACK_OFF.end());
            (self.misses, self.waits_off) = (0, self.last_back_off);
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
    fn only_short_waits_are_polled_and_not_the_first_ones() {
        let mut busy_poll = BusyPoll::default();
        assert!((0..WARM_UP).all(|_| busy_poll.duration(TRIP).is_zero()));
        assert_eq!(busy_poll.duration(TRIP), Duration::from_micros(80));
        assert!(busy_poll.duration(Some(Duration::from_micros(150))).is_zero());
        assert!(busy_poll.duration(None).is_zero());
    }

    #[test]
    fn unsuccessful_polls_turn_polling_off_for_longer_each_time() {
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
