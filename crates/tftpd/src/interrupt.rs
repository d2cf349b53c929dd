//! What a signal that ends tftpc takes along: a temporary file that has a name, which nobody else would
//! remove.

use std::fs;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

/// From now on SIGHUP, SIGINT and SIGTERM call `clean` before they end this process, those that are
/// ignored excepted.
///
/// # Errors
/// No thread can be started that waits for them; they end the process at once then, as before.
pub fn before_the_end(clean: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let ignored = ignored();
    let all = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    let signals: SigSet =
        all.into_iter().filter(|signal| ignored >> (*signal as u32 - 1) & 1 == 0).collect();
    signals.thread_block()?;
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            clean();
            let _ended = signals.thread_unblock().and_then(|()| raise(signal));
        }
    };
    match thread::Builder::new().spawn(wait) {
        Ok(_runs_to_the_end) => Ok(()),
        Err(error) => {
            signals.thread_unblock()?;
            Err(error)
        }
    }
}

/// The signals that this process ignores, a bit each, as nohup(1) and a shell's `&` may have told it.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
