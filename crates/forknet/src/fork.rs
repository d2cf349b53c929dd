//! fork, and the child's half of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
#[cfg(test)]
use nix::unistd::ForkResult;
use nix::unistd::Pid;

/// Exit code of a child whose session ended as it should.
pub(crate) const EXIT_OK: i32 = 0;
/// Exit code of a child whose session failed: the client was gone, silent, or a file could not be
/// read.
pub(crate) const EXIT_FAILED: i32 = 1;
/// Exit code of a child that panicked, as Rust's runtime would choose it.
pub(crate) const EXIT_PANIC: i32 = 101;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, and the child's id.
    Parent(Pid),
}

/// fork(2).
pub(crate) fn fork() -> nix::Result<Fork> {
    debug_assert!(has_one_task(), "fork in a process with several tasks");
    // SAFETY: one task at this point (asserted in debug builds; nothing in the daemons starts a
    // thread before the fork), so the child inherits no lock that a missing thread holds, and may
    // do whatever the parent may. There are no handlers of pthread_atfork(3) to be called.
    let forked = Errno::result(unsafe { _Fork() })?;
    Ok(if forked == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(forked)) })
}

unsafe extern "C" {
    /// _Fork(3), of POSIX.1-2024: fork(2) that leaves libc's locks alone. With one task they are free,
    /// and to make them free once more in each child is to copy three pages.
    fn _Fork() -> libc::pid_t;
}

#[cfg(test)]
fn sides(forked: nix::Result<ForkResult>) -> nix::Result<Fork> {
    Ok(match forked? {
        ForkResult::Child => Fork::Child,
        ForkResult::Parent { child } => Fork::Parent(child),
    })
}

/// fork(2) from the test harness, whose other threads may hold locks.
#[cfg(test)]
pub(crate) fn fork_among_threads() -> nix::Result<Fork> {
    // SAFETY: the child of a test uses only fork, waitpid, _exit and atomics until it ends.
    sides(unsafe { nix::unistd::fork() })
}

/// True when this process is a single task, or /proc cannot tell.
pub(crate) fn has_one_task() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() == 1)
}

/// The child's whole life: `life` gives the exit code, a panic ends here, and the parent's `Drop`s
/// and buffers, which this process has copies of, are left alone.
///
/// Never inlined: a session's buffers would lie in the frame of the parent's loop, and that be spread
/// over pages which have to be copied after each fork.
#[inline(never)]
pub(crate) fn child(life: impl FnOnce() -> i32) -> ! {
    exit_now(contain(life))
}

/// Runs one client's session; a panic ends here too.
pub(crate) fn contain(life: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(life)).unwrap_or(EXIT_PANIC)
}

/// _exit(2): ends this process without running anything.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition; it does not return.
    unsafe { libc::_exit(code) }
}
