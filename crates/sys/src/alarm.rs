//! setitimer(2) and SIGALRM: interrupts a call that blocks.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::signal::unblock;

/// Makes a call that may block, and interrupts it with a signal at this interval until it returns,
/// so that a system call in it fails with EINTR. Leaves a handler of SIGALRM that does nothing.
///
/// # Errors
/// EINVAL for an interval of more than a century.
pub fn interrupted<T>(interval: Duration, call: impl FnOnce() -> T) -> nix::Result<T> {
    // Without SA_RESTART, because the system call must fail with EINTR.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGALRM, &action)? };
    unblock(&[Signal::SIGALRM])?;
    set(interval)?; // repeats, because the first signal may come before the system call
    let answer = call();
    set(Duration::ZERO)?;
    Ok(answer)
}

extern "C" fn nothing(_: libc::c_int) {}

/// Sends SIGALRM at this interval; zero stops it.
fn set(interval: Duration) -> nix::Result<()> {
    let time = libc::timeval {
        tv_sec: interval.as_secs().try_into().map_err(|_| Errno::EINVAL)?,
        tv_usec: interval.subsec_micros().into(),
    };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: `timer` is read during the call only; no place for the old one is given.
    let answer =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    Errno::result(answer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{Fork, exit_now, fork_among_threads};
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn a_call_that_would_block_is_interrupted() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        // In a process of one thread, because the signal goes to any thread.
        let Fork::Parent(child) = fork_among_threads().unwrap() else {
            let read = || nix::unistd::read(&reader, &mut [0]);
            exit_now(i32::from(
                interrupted(Duration::from_millis(1), read) != Ok(Err(Errno::EINTR)),
            ));
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}
