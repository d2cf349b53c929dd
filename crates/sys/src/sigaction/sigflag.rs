//! A handler that sets a flag, and the functions that read it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use libc::c_int;
use nix::sys::signal::Signal;

/// Runs of the handler, for each signal; signals have the numbers 1 to 64.
static TIMES: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

/// Counts.
pub(super) extern "C" fn sig_flag(signo: c_int) {
    if let Some(flag) = usize::try_from(signo).ok().and_then(|signo| TIMES.get(signo)) {
        flag.fetch_add(1, SeqCst);
    }
}

/// Returns the runs of the handler since the flag was last cleared. Signals are not queued, so several
/// that come while they are blocked are one.
#[must_use]
pub fn times(signo: Signal) -> usize {
    TIMES.get(signo as usize).map_or(0, |flag| flag.load(SeqCst))
}

/// Returns true when the flag is set.
#[must_use]
pub fn came(signo: Signal) -> bool {
    times(signo) > 0
}

/// Clears the flag; returns true when it was set.
pub fn take(signo: Signal) -> bool {
    TIMES.get(signo as usize).is_some_and(|flag| flag.swap(0, SeqCst) > 0)
}
