//! Removes the temporary file when a signal ends tftpc.

use std::fs;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

/// Calls `clean_up` before SIGHUP, SIGINT or SIGTERM ends this process. Ignored signals stay
/// ignored.
///
/// # Errors
/// The thread that waits for the signals can't be started. The signals then end the process at
/// once, as before.
pub(super) fn clean_up_on_signal(clean_up: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let ignored = ignored_signals();
    let all = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    let signals: SigSet =
        all.into_iter().filter(|signal| ignored >> (*signal as u32 - 1) & 1 == 0).collect();
    signals.thread_block()?;
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            clean_up();
            let _ = signals.thread_unblock().and_then(|()| raise(signal)); // ends the process
        }
    };
    match thread::Builder::new().spawn(wait) {
        Ok(_) => Ok(()),
        Err(error) => {
            signals.thread_unblock()?;
            Err(error)
        }
    }
}

/// Returns the mask of ignored signals, which nohup(1) or a shell's `&` may have set.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
