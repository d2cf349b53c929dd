//! lib/signal.c, slide "signal Function That Enables System Call Restart".

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{sigchldwait, sigchldwaitpid, sigflag, signame, sigtwice};

/// What becomes of a signal. Only this module makes one: a handler may call almost nothing, and an
/// ordinary function taken for one could do anything at the worst moment.
#[derive(Clone, Copy, Debug)]
pub struct Sigfunc(SigHandler);

/// The default: ends the process, or ignores the signal, see signal(7).
pub const SIG_DFL: Sigfunc = Sigfunc(SigHandler::SigDfl);
/// Ignores the signal.
pub const SIG_IGN: Sigfunc = Sigfunc(SigHandler::SigIgn);
/// For SIGCHLD: takes one child, whatever the number that have ended, and writes `child N terminated`
/// to standard output. Slide "Version of SIGCHLD Handler That Calls wait".
pub const SIG_CHLD_WAIT: Sigfunc = Sigfunc(SigHandler::Handler(sigchldwait::sig_chld));
/// For SIGCHLD: takes every child that has ended, and writes `child N terminated` for each to
/// standard output. Slide "Final (correct) Version of sig_chld Function That Calls waitpid".
pub const SIG_CHLD_WAITPID: Sigfunc = Sigfunc(SigHandler::Handler(sigchldwaitpid::sig_chld));
/// Sets a flag, which [`came`](super::came), [`take`](super::take) and [`times`](super::times) read.
pub const SET_A_FLAG: Sigfunc = Sigfunc(SigHandler::Handler(sigflag::sig_flag));
/// Writes `caught SIGTERM`, or whatever came, to standard output.
pub const SAY_ITS_NAME: Sigfunc = Sigfunc(SigHandler::Handler(signame::sig_name));
/// Writes `handler of SIGUSR1 begins`, the first time sends the signal to itself, writes
/// `handler of SIGUSR1 ends`. Slide "POSIX signal semantics".
pub const SEND_IT_AGAIN: Sigfunc = Sigfunc(SigHandler::Handler(sigtwice::sig_twice));

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
/// EINVAL for SIGKILL and SIGSTOP, which nobody can catch or ignore.
pub fn signal(signo: Signal, func: Sigfunc, restart: Restart) -> nix::Result<()> {
    let sa_flags = match restart {
        Restart::Yes => SaFlags::SA_RESTART,
        Restart::No => SaFlags::empty(),
    };
    let act = SigAction::new(func.0, sa_flags, SigSet::empty());
    // SAFETY: a `Sigfunc` is SIG_DFL, SIG_IGN or one of the handlers beside this file, which use only
    // async-signal-safe calls and lock-free atomics, and leave errno as it was.
    unsafe { sigaction(signo, &act) }.map(drop)
}
