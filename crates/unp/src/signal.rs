//! lib/signal.c, slide "signal Function That Enables System Call Restart".

use nix::sys::signal::{SaFlags, SigSet, Signal};

pub use sys::sigaction::{
    SAY_ITS_NAME, SEND_IT_AGAIN, SET_A_FLAG, SIG_CHLD_WAIT, SIG_CHLD_WAITPID, SIG_DFL, SIG_IGN,
    Sigfunc, came, take, times,
};

/// What a slow system call does when the handler has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// SA_RESTART: it goes on waiting. Not all do: poll, select and the like never restart, signal(7).
    Yes,
    /// It fails with EINTR.
    No,
}

/// The slides' `signal`: a handler stays installed, its own signal is blocked while it runs, and the
/// caller says whether system calls are restarted. (The slide's decides by itself: all but SIGALRM.)
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP, which cannot be caught or ignored.
pub fn signal(signo: Signal, func: Sigfunc, restart: Restart) -> nix::Result<()> {
    let sa_flags = match restart {
        Restart::Yes => SaFlags::SA_RESTART,
        Restart::No => SaFlags::empty(),
    };
    sys::sigaction::sigaction(signo, func, sa_flags, SigSet::empty())
}
