//! Waits that have a watchdog.

use std::time::{Duration, Instant};

/// Longest wait of a test before it has failed: against what hangs, not against what is slow.
pub const WATCHDOG: Duration = Duration::from_secs(180);

/// Tries of [`within_once`].
const TRIES: u32 = 20;

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within [`WATCHDOG`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + WATCHDOG;
    while !condition() {
        assert!(Instant::now() < until, "watchdog: waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
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
