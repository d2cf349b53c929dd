//! A rate for the log lines of refused commands, which a client can cause as fast as it sends.

use std::time::{Duration, Instant};

/// Most lines in a [`PERIOD`]; more are only counted.
const MAX_LINES: u32 = 100;
/// Period of the limit, from its first line on.
const PERIOD: Duration = Duration::from_secs(10);

/// The lines of one session.
#[derive(Debug, Default)]
pub(super) struct RefusedLines {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl RefusedLines {
    /// Returns whether one more line may be written, and the number of those that were left out before it.
    pub(super) fn next(&mut self) -> (bool, u64) {
        let is_over = self.since.is_none_or(|since| since.elapsed() >= PERIOD);
        let left_out = if is_over { self.restart() } else { 0 };
        self.lines = self.lines.saturating_add(1);
        let is_allowed = self.lines <= MAX_LINES;
        self.left_out += u64::from(!is_allowed);
        (is_allowed, left_out)
    }

    /// Begins a period; returns the number of lines that the last one left out.
    pub(super) fn restart(&mut self) -> u64 {
        (self.since, self.lines) = (Some(Instant::now()), 0);
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_limit_are_counted() {
        let mut lines = RefusedLines::default();
        let written = (0..250).filter(|_| lines.next() == (true, 0)).count();
        assert_eq!(written, MAX_LINES as usize);
        lines.since = Instant::now().checked_sub(PERIOD);
        assert_eq!(lines.next(), (true, 250 - u64::from(MAX_LINES)));
        assert_eq!(lines.restart(), 0);
    }
}
