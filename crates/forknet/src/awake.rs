//! Waiting awake for an answer that comes at once.
//!
//! In lock step each end sleeps while the other works, and to be woken takes a processor longer than
//! everything else in a round: on one machine, or between two on a fast network, the answer is there
//! sooner than sleep would have begun. So a process whose peer answers that fast looks for the answer
//! for as long as one usually takes, and sleeps only then. Where that is in vain, because the peer
//! waits for this very processor, it gives up for a while, and for longer each time.

use std::time::Duration;

/// Longer waits are slept through: so much work is no more than what sleep and wake-up cost.
const SHORT: Duration = Duration::from_micros(100);
/// A process has waited so often before it does so awake: what was measured once says little, and
/// those who fetch many small files at once need the processor.
const WARM: u32 = 2;
/// After so many looks in vain in a row, the next waits are slept through.
const MISSES: u32 = 3;
/// So many the first time, and at most.
const REST: std::ops::Range<u32> = 500..500 << 7;

/// Whether a process waits awake.
#[derive(Debug, Default)]
pub struct Awake {
    waits: u32,
    misses: u32,
    rest: u32,
    /// The length of the last rest, without success since.
    rested: u32,
}

impl Awake {
    /// How long to look for the next answer, where they take about so long.
    pub fn time(&mut self, usual: Option<Duration>) -> Duration {
        self.waits = self.waits.saturating_add(1);
        self.rest = self.rest.saturating_sub(1);
        let is_short = |usual: &Duration| *usual <= SHORT && self.waits > WARM && self.rest == 0;
        usual.filter(is_short).map_or(Duration::ZERO, |usual| usual * 2)
    }

    /// What came of it. What is there at the first look says nothing: the peer may have had this very
    /// processor in the meantime, and nobody waited.
    pub fn looked(&mut self, found: bool) {
        if found {
            (self.misses, self.rested) = (0, 0);
            return;
        }
        self.misses += 1;
        if self.misses == MISSES {
            self.rested = (self.rested * 2).clamp(REST.start, REST.end);
            (self.misses, self.rest) = (0, self.rested);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Option<Duration> = Some(Duration::from_micros(40));

    fn warm() -> Awake {
        Awake { waits: WARM, ..Awake::default() }
    }

    #[test]
    fn only_short_round_trips_are_waited_for_awake_and_not_the_first_ones() {
        let mut awake = Awake::default();
        assert!((0..WARM).all(|_| awake.time(TRIP).is_zero()));
        assert_eq!(awake.time(TRIP), Duration::from_micros(80));
        assert!(awake.time(Some(Duration::from_micros(150))).is_zero());
        assert!(awake.time(None).is_zero());
    }

    #[test]
    fn who_looks_in_vain_sleeps_for_a_while_and_then_for_longer() {
        let mut awake = warm();
        let mut look = |found: &[bool]| {
            for found in found {
                assert!(!awake.time(TRIP).is_zero());
                awake.looked(*found);
            }
            (1..).find(|_| !awake.time(TRIP).is_zero()).unwrap()
        };
        assert_eq!(look(&[false, false, true, false, false, false]), 500);
        assert_eq!(look(&[false, false, false]), 1000);
        assert_eq!(look(&[true, false, false]), 1);
    }
}
