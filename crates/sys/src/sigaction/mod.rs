//! sigaction(2) with the handlers of the slides.

mod say;
mod sigchldwait;
mod sigchldwaitpid;
mod sigflag;
mod signame;
mod sigtwice;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};

pub use sigflag::{came, take, times};

/// The action for a signal. Only this module makes one, because a handler may call only
/// async-signal-safe functions (signal-safety(7)).
#[derive(Clone, Copy, Debug)]
pub struct Sigfunc(SigHandler);

/// The default: ends the process, or ignores the signal, see signal(7).
pub const SIG_DFL: Sigfunc = Sigfunc(SigHandler::SigDfl);
/// Ignores the signal.
pub const SIG_IGN: Sigfunc = Sigfunc(SigHandler::SigIgn);
/// For SIGCHLD: waits for one child, however many have ended, and writes `child N terminated` to
/// standard output. Slide "Version of SIGCHLD Handler That Calls wait".
pub const SIG_CHLD_WAIT: Sigfunc = Sigfunc(SigHandler::Handler(sigchldwait::sig_chld));
/// For SIGCHLD: waits for every child that has ended, and writes `child N terminated` for each to
/// standard output. Slide "Final (correct) Version of sig_chld Function That Calls waitpid".
pub const SIG_CHLD_WAITPID: Sigfunc = Sigfunc(SigHandler::Handler(sigchldwaitpid::sig_chld));
/// Sets a flag, which [`came`], [`take`] and [`times`] read.
pub const SET_A_FLAG: Sigfunc = Sigfunc(SigHandler::Handler(sigflag::sig_flag));
/// Writes the signal's name to standard output: `caught SIGTERM`.
pub const SAY_ITS_NAME: Sigfunc = Sigfunc(SigHandler::Handler(signame::sig_name));
/// Writes `handler of SIGUSR1 begins`, the first time sends the signal to itself, writes
/// `handler of SIGUSR1 ends`. Slide "POSIX signal semantics".
pub const SEND_IT_AGAIN: Sigfunc = Sigfunc(SigHandler::Handler(sigtwice::sig_twice));

/// sigaction(2): sets the action for a signal. `mask` and the signal itself are blocked while the
/// handler runs.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP, which cannot be caught or ignored.
pub fn sigaction(signo: Signal, func: Sigfunc, flags: SaFlags, mask: SigSet) -> nix::Result<()> {
    let act = SigAction::new(func.0, flags, mask);
    // SAFETY: the field of `Sigfunc` is private to this module, which makes none but those above:
    // SIG_DFL, SIG_IGN, and handlers that make only async-signal-safe calls, touch only lock-free
    // atomics, and leave errno as it was. They may be nested (SA_NODEFER) and run on any stack
    // (SA_ONSTACK); SigAction::new clears SA_SIGINFO, which would call for another signature.
    unsafe { nix::sys::signal::sigaction(signo, &act) }.map(drop)
}
