//! The window of a race, held open between two instructions.

use nix::sys::signal::{Signal, raise};

use crate::error::{Result, err_sys};
use crate::note::note;

/// Prints on standard error how to continue, and stops this process by SIGSTOP until SIGCONT comes.
///
/// # Errors
/// Never on Linux.
pub fn stop_here() -> Result {
    let pid = std::process::id();
    note(format_args!("in the window: kill -TERM {pid}; kill -CONT {pid}"));
    raise(Signal::SIGSTOP).map_err(err_sys("raise error"))
}
