//! A rate limit for log lines that clients can cause.

use std::time::{Duration, Instant};

/// Most lines in a [`PERIOD`]; more are only counted.
const MAX_LINES: u32 = 20;
/// Period of the limit, from the first line on.
const PERIOD: Duration = Duration::from_secs(1);

/// Limits lines of one kind, and counts those that were not written.
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

    /// As [`Throttle::allows`], where what is over the limit may still be logged later.
    pub(crate) fn allows_uncounted(&mut self) -> bool {
        let is_allowed = self.allows();
        self.left_out -= u64::from(!is_allowed);
        is_allowed
    }

    /// Counts a line that is not written.
    pub(crate) fn leave_out(&mut self) {
        self.since.get_or_insert_with(Instant::now);
        self.left_out += 1;
    }

    /// Returns the time until [`Throttle::left_out`] has a count.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let since = self.since.filter(|_| self.left_out > 0)?;
        Some(PERIOD.saturating_sub(since.elapsed()))
    }

    /// Returns the number of lines that the last period left out, once it is over.
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
    fn lines_over_the_limit_are_counted_and_reported_once() {
        let mut throttle = Throttle::default();
        assert_eq!((0..100).filter(|_| throttle.allows()).count(), MAX_LINES as usize);
        assert!(throttle.left_out().is_none() && throttle.due_in().unwrap() <= PERIOD);
        throttle.since = Instant::now().checked_sub(PERIOD);
        assert_eq!(throttle.due_in(), Some(Duration::ZERO));
        assert_eq!(throttle.left_out(), Some(100 - u64::from(MAX_LINES)));
        assert!(throttle.left_out().is_none() && throttle.due_in().is_none());
        assert!(throttle.allows());
    }

    #[test]
    fn what_may_be_logged_later_is_counted_later() {
        let mut throttle = Throttle::default();
        assert_eq!((0..100).filter(|_| throttle.allows_uncounted()).count(), MAX_LINES as usize);
        assert!(throttle.due_in().is_none());
        throttle.leave_out();
        throttle.since = Instant::now().checked_sub(PERIOD);
        assert_eq!(throttle.left_out(), Some(1));
    }
}
