//! Waits that have a watchdog.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Longest wait of a test before it has failed: against what hangs, not against what is slow.
pub const WATCHDOG: Duration = Duration::from_secs(180);

/// Pauses between two looks at a condition.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Tries of [`within_once`].
const TRIES: u32 = 20;
/// Tries of [`judged_within`].
const JUDGED_TRIES: u32 = 8;

/// Returns how often a test repeats what it tries at random: `times`, or that many times the number in the
/// environment's FORKLORE_TIMES, which `make test-long` sets.
///
/// # Panics
/// FORKLORE_TIMES is not a number.
#[must_use]
pub fn repetitions(times: usize) -> usize {
    let factor = std::env::var("FORKLORE_TIMES").unwrap_or_else(|_| "1".into());
    times * factor.parse::<usize>().expect("FORKLORE_TIMES: not a number")
}

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within [`WATCHDOG`].
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(WATCHDOG, condition), "watchdog: timeout waiting until {what}");
}

/// Receives again where the test was stopped and continued meanwhile: a wait with a limit then ends with EINTR, also without a
/// handler (signal(7)).
///
/// # Errors
/// Those of `receive` but EINTR.
pub fn uninterrupted<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// Waits until `condition` holds, but no longer than `limit`. Looks at it every millisecond at first, and
/// less often the longer it takes.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 5 / 4).min(LONGEST_PAUSE);
    }
    true
}

/// How long a try of [`judged_within`] has taken.
#[derive(Debug)]
pub struct Stopwatch {
    start: Instant,
    limit: Duration,
    /// What the first [`Stopwatch::stop`] has found.
    is_late: Cell<Option<bool>>,
}

impl Stopwatch {
    /// What depends on time has been done. Ends the try unless that was within the limit: it says nothing then.
    ///
    /// # Panics
    /// It took longer.
    pub fn stop(&self) {
        self.is_late.set(Some(self.has_passed()));
        assert!(!self.was_late(), "not within {:?}", self.limit);
    }

    fn has_passed(&self) -> bool {
        self.start.elapsed() > self.limit
    }

    /// Whether a try that has ended was too slow to say anything.
    fn was_late(&self) -> bool {
        self.is_late.get().unwrap_or_else(|| self.has_passed())
    }
}

/// Tries a test that must be quicker than a limit of the server's, such as failures that count for a minute, until a try
/// was quick enough to be judged. A try says by [`Stopwatch::stop`] when it has come so far.
///
/// # Panics
/// As a try that was quick enough; none was.
pub fn judged_within(limit: Duration, mut test: impl FnMut(&Stopwatch)) {
    for _ in 0..JUDGED_TRIES {
        let watch = Stopwatch { start: Instant::now(), limit, is_late: Cell::new(None) };
        match catch_unwind(AssertUnwindSafe(|| test(&watch))) {
            Ok(()) => return,
            Err(_) if watch.was_late() => {}
            Err(panic) => resume_unwind(panic),
        }
    }
    panic!("never within {limit:?}");
}

/// Fails unless `what` takes less than `limit` once in several tries. A busy machine makes some of them
/// slow; a timer that the program waits for makes all of them slow. `what` returns the time it measured.
///
/// # Panics
/// No try was quick enough.
pub fn within_once(limit: Duration, mut what: impl FnMut() -> Duration) {
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        tries.push(what());
        if tries.last().is_some_and(|took| *took < limit) {
            return;
        }
    }
    panic!("never within {limit:?}: {tries:?}");
}
