//! A bound for lines of the log that anyone on the network can cause.

use std::time::{Duration, Instant};

/// Lines that are written in a [`PERIOD`]; the others are counted.
const MAX_LINES: u32 = 20;
/// Begins with the first line.
const PERIOD: Duration = Duration::from_secs(1);

/// Says which lines of a kind are written, and how many were not.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Throttle {
    /// Returns true when one more line may be written.
    pub(crate) fn allows(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now);
        self.lines = self.lines.saturating_add(1);
        let is_allowed = self.lines <= MAX_LINES;
        self.left_out += u64::from(!is_allowed);
        is_allowed
    }

    /// How soon [`Throttle::left_out`] has something to tell.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let since = self.since.filter(|_| self.left_out > 0)?;
        Some(PERIOD.saturating_sub(since.elapsed()))
    }

    /// The number of lines that were left out in the period that is over.
    pub(crate) fn left_out(&mut self) -> Option<u64> {
        let is_over = self.since.is_some_and(|since| since.elapsed() >= PERIOD);
        let left_out = self.left_out;
        if is_over {
            *self = Throttle::default();
        }
        (is_over && left_out > 0).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_bound_are_counted_and_told_once() {
        let mut throttle = Throttle::default();
        assert_eq!((0..100).filter(|_| throttle.allows()).count(), MAX_LINES as usize);
        assert!(throttle.left_out().is_none() && throttle.due_in().unwrap() <= PERIOD);
        throttle.since = Instant::now().checked_sub(PERIOD);
        assert_eq!(throttle.due_in(), Some(Duration::ZERO));
        assert_eq!(throttle.left_out(), Some(100 - u64::from(MAX_LINES)));
        assert!(throttle.left_out().is_none() && throttle.due_in().is_none());
        assert!(throttle.allows());
    }
}
