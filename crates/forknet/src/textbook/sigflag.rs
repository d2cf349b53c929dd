//! A handler that sets a flag, and those who read it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use libc::c_int;
use nix::sys::signal::Signal;

/// How many times the handler ran, for each signal.
static TIMES: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

pub(super) extern "C" fn sig_flag(signo: c_int) {
    if let Some(flag) = usize::try_from(signo).ok().and_then(|signo| TIMES.get(signo)) {
        flag.fetch_add(1, SeqCst);
    }
}

/// How many times the handler ran since the flag was last taken down. Signals are not queued: several
/// that come while they are blocked are one.
#[must_use]
pub fn times(signo: Signal) -> usize {
    TIMES.get(signo as usize).map_or(0, |flag| flag.load(SeqCst))
}

/// True when the flag is up.
#[must_use]
pub fn came(signo: Signal) -> bool {
    times(signo) > 0
}

/// Takes the flag down; true when it was up.
pub fn take(signo: Signal) -> bool {
    TIMES.get(signo as usize).is_some_and(|flag| flag.swap(0, SeqCst) > 0)
}
