//! A window between two instructions, made as wide as one likes.

use nix::sys::signal::{Signal, raise};

use crate::{Result, err_sys, note};

/// Says so on standard error and stops this process by SIGSTOP, until somebody sends SIGCONT.
///
/// # Errors
/// Never on Linux.
pub fn stop_here() -> Result {
    let pid = std::process::id();
    note(format_args!("in the window: kill -TERM {pid}; kill -CONT {pid}"));
    raise(Signal::SIGSTOP).map_err(err_sys("raise error"))
}
