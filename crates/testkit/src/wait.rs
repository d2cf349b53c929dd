//! Waits that have a watchdog.

use std::time::{Duration, Instant};

/// How long any wait of a test may last before it has failed.
pub const WATCHDOG: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within [`WATCHDOG`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + WATCHDOG;
    while !condition() {
        assert!(Instant::now() < until, "watchdog: timeout waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
