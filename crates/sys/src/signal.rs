//! sigaction(2), sigprocmask(2), sigaltstack(2), ppoll(2) and kill(2).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use signal_hook::low_level::register;

use crate::private_memory::Mapping;
use crate::wait;

/// What a handler does. Callers choose one of these, because a handler may call only
/// async-signal-safe functions (signal-safety(7)).
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Counts.
    Count(&'static AtomicUsize),
    /// Counts the first, and ends the process at the second with exit code 128 and the signal's number.
    CountOrEnd(&'static AtomicUsize),
    /// Sets a flag.
    Set(&'static AtomicBool),
    /// For SIGCHLD: waits for every child that has ended, [`wait::reaper`].
    Reap,
    /// For SIGCHLD: waits for one child, [`wait::sig_chld_wait`].
    ReapOne,
}

/// Registers a handler, through signal-hook, for good.
///
/// # Errors
/// EINVAL for a signal that cannot be caught.
pub fn handle(signal: Signal, action: Action) -> std::io::Result<()> {
    let number = signal as i32;
    let registered = match action {
        // SAFETY: the action only touches a lock-free atomic, which is async-signal-safe.
        Action::Count(count) => unsafe {
            register(number, move || {
                count.fetch_add(1, Relaxed);
            })
        },
        // SAFETY: as above; _exit(2) is on the list of signal-safety(7).
        Action::CountOrEnd(count) => unsafe {
            register(number, move || {
                if count.fetch_add(1, Relaxed) > 0 {
                    libc::_exit(128 + number);
                }
            })
        },
        // SAFETY: as above.
        Action::Set(flag) => unsafe { register(number, move || flag.store(true, Relaxed)) },
        // SAFETY: it calls waitpid, which is on the list of signal-safety(7), touches lock-free
        // atomics, and keeps errno.
        Action::Reap => unsafe { register(number, wait::reaper) },
        // SAFETY: as above.
        Action::ReapOne => unsafe { register(number, wait::sig_chld_wait) },
    };
    registered.map(drop)
}

/// Blocks these signals.
///
/// # Errors
/// None that is documented for it.
pub fn block(signals: &[Signal]) -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals.iter().copied().collect()), None)
}

/// Unblocks these signals.
///
/// # Errors
/// As [`block`].
pub fn unblock(signals: &[Signal]) -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&signals.iter().copied().collect()), None)
}

/// Sets the signal mask.
///
/// # Errors
/// As [`block`].
pub fn set_mask(mask: &SigSet) -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)
}

/// Returns the signal mask.
///
/// # Errors
/// As [`block`].
pub fn mask() -> nix::Result<SigSet> {
    SigSet::thread_get_mask()
}

/// Restores the default disposition of these signals.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP.
pub fn restore_default(signals: &[Signal]) -> nix::Result<()> {
    signals.iter().try_for_each(|signal| disposition(*signal, SigHandler::SigDfl))
}

/// Ignores a signal.
///
/// # Errors
/// As [`restore_default`].
pub fn ignore(signal: Signal) -> nix::Result<()> {
    disposition(signal, SigHandler::SigIgn)
}

fn disposition(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: `handler` is SIG_DFL or SIG_IGN at both places that call this, and neither runs code
    // of this program; the handler it replaces is no longer called.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// ppoll(2) with this mask: returns true when a descriptor is ready, false after a signal or the
/// timeout.
///
/// # Errors
/// EINVAL for too many descriptors; ENOMEM.
pub fn ppoll(fds: &mut [PollFd<'_>], timeout: Option<TimeSpec>, mask: SigSet) -> nix::Result<bool> {
    match nix::poll::ppoll(fds, timeout, Some(mask)) {
        Ok(0) | Err(Errno::EINTR) => Ok(false),
        Ok(_) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// kill(2) of a child of this process, and never of another process.
///
/// SIGCHLD must be blocked, so that no reaper runs between the check and the signal.
///
/// # Errors
/// ECHILD if it is no child of this process, or was reaped.
pub fn kill_child(pid: Pid, signal: Signal) -> nix::Result<()> {
    if !wait::is_child(pid) {
        return Err(Errno::ECHILD);
    }
    nix::sys::signal::kill(pid, signal)
}

/// Bytes of stack for a handler, besides what the kernel puts there.
const HANDLER_BYTES: usize = 16 * 1024;

/// The handlers' stack, which is never unmapped.
static STACK: OnceLock<Stack> = OnceLock::new();

struct Stack(#[expect(dead_code, reason = "the kernel uses it")] Mapping);

// SAFETY: it is never read.
unsafe impl Send for Stack {}
// SAFETY: as above.
unsafe impl Sync for Stack {}

/// Makes the handlers of these signals run on a stack in memory that no child inherits.
///
/// Before it calls a handler, the kernel saves the processor's state there, nearly a page. On the
/// process's own stack that would copy a page after every fork, because the child shares it. A
/// child with handlers of its own has to call this again.
///
/// # Errors
/// ENOMEM.
pub fn use_private_stack(signals: &[Signal]) -> nix::Result<()> {
    // SAFETY: getauxval reads a table that nothing writes to.
    let needed = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let size = (needed.max(libc::MINSIGSTKSZ) + HANDLER_BYTES).next_multiple_of(4096);
    let mapping = Mapping::new(size)?;
    let place = mapping.place.as_ptr();
    if STACK.set(Stack(mapping)).is_err() {
        return Ok(()); // it exists already
    }
    let stack = libc::stack_t { ss_sp: place.cast(), ss_flags: 0, ss_size: size };
    // SAFETY: `place` points to `size` bytes that STACK keeps for ever and that nothing else uses;
    // this runs on no signal stack, because handlers run only inside of ppoll.
    Errno::result(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) })?;
    signals.iter().try_for_each(|signal| on_stack(*signal))
}

/// Sets SA_ONSTACK for a signal that has a handler.
fn on_stack(signal: Signal) -> nix::Result<()> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all of `action` is live and may be written; with no new action it is only filled.
    Errno::result(unsafe {
        libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr())
    })?;
    // SAFETY: zeroed, then filled by the kernel.
    let mut action = unsafe { action.assume_init() };
    if matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        return Ok(());
    }
    action.sa_flags |= libc::SA_ONSTACK;
    // SAFETY: the same handler as before, on the stack set above, which is large enough for it.
    let set = unsafe { libc::sigaction(signal as i32, &raw const action, std::ptr::null_mut()) };
    Errno::result(set).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_children_of_this_process_are_signalled() {
        let script = "sleep 60 >/dev/null 2>&1 & echo $!";
        let output = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
        let orphan: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        for pid in [-1, 0, 1, orphan] {
            let pid = Pid::from_raw(pid);
            assert_eq!(kill_child(pid, Signal::SIGTERM), Err(Errno::ECHILD), "{pid}");
        }
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        kill_child(pid, Signal::SIGTERM).unwrap();
        child.wait().unwrap();
        assert_eq!(kill_child(pid, Signal::SIGTERM), Err(Errno::ECHILD));
        let _ = nix::sys::signal::kill(Pid::from_raw(orphan), Signal::SIGKILL);
    }
}
