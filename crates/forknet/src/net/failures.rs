//! System calls that fail again and again.

use std::time::Duration;

use log::{info, warn};
use nix::errno::Errno;

use crate::error::strerror;

/// Pause between two tries of a call that keeps failing, because a loop without one would spin.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// Failures in a row before that pause.
const MAX_FAILURES: u32 = 100;

/// Counts failures in a row, and logs the first and the last of them.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    /// The system call whose failure was logged.
    logged: Option<&'static str>,
}

impl Failures {
    /// Counts a failure of `call`; returns true when the caller has to pause before the next try.
    pub(crate) fn count(&mut self, call: &'static str, errno: Errno) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let keeps_failing = self.in_a_row >= MAX_FAILURES;
        if keeps_failing {
            self.warn(call, errno, "goes on failing: tried again until it works");
        }
        keeps_failing
    }

    /// Logs a failure, unless one has been logged since the last success.
    pub(crate) fn warn(&mut self, call: &'static str, errno: Errno, consequence: &str) {
        if self.logged.replace(call).is_none() {
            warn!("{call}: {}: {consequence}", strerror(errno));
        }
    }

    /// Notes a success.
    pub(crate) fn reset(&mut self) {
        self.in_a_row = 0;
        if let Some(call) = self.logged.take() {
            info!("{call}: works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_keeps_failing_pauses_until_it_succeeds() {
        let mut failures = Failures::default();
        let mut count = || failures.count("accept", Errno::EPERM);
        assert!((1..MAX_FAILURES).all(|_| !count()) && count() && count());
        failures.reset();
        assert!(!failures.count("accept", Errno::EPERM) && failures.logged.is_none());
    }
}
