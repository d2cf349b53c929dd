//! fork(2), and what the child runs.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::generation::Borrow;

/// Exit code of a process that panicked, the same as Rust's runtime gives.
pub const EXIT_PANIC: i32 = 101;

/// The process that returned from fork(2).
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old process, with the child's id.
    Parent(Pid),
}

/// The precondition of [`fork`]: this process is one task. A child has only the thread that forked,
/// and would wait for ever for a lock that another thread held, such as malloc's.
///
/// It cannot be sent to another thread. A thread can still be started later, so `fork` checks
/// again.
#[derive(Clone, Copy, Debug)]
pub struct OneTask(PhantomData<*const ()>);

impl OneTask {
    /// Checks that this process is one task.
    ///
    /// # Errors
    /// EDEADLK if it has, or has had, several threads.
    pub fn check() -> nix::Result<OneTask> {
        if has_one_task() { Ok(OneTask(PhantomData)) } else { Err(Errno::EDEADLK) }
    }
}

/// fork(2): returns in two processes.
///
/// # Errors
/// EAGAIN and ENOMEM as fork(2) says; EDEADLK when a thread was started since `OneTask` was checked,
/// or within [`Private::with`](crate::private_memory::Private::with).
pub fn fork(_: OneTask) -> nix::Result<Fork> {
    if !has_one_task() || Borrow::is_active() {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: one task at this point, as was just checked, so the child inherits no lock of a
    // missing thread, and may do what the parent may. No handler of pthread_atfork(3) is skipped,
    // because neither this program nor libc registers one.
    let forked = Errno::result(unsafe { raw_fork() })?;
    Ok(if forked == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(forked)) })
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// _Fork(3) of POSIX.1-2024: fork(2) without resetting libc's locks. With one task they are
    /// free, and the reset would copy three pages in each child.
    #[link_name = "_Fork"]
    fn raw_fork() -> libc::pid_t;
    /// sys/single_threaded.h: not 0 while the process has one thread and never had more.
    static __libc_single_threaded: libc::c_char;
}

#[cfg(not(target_env = "gnu"))]
use libc::fork as raw_fork;

/// Returns true when this process is a single task, as glibc records it.
#[cfg(target_env = "gnu")]
fn has_one_task() -> bool {
    // SAFETY: libc writes to it only in pthread_create, and in this process there is no other thread
    // that could be calling that, or the value is 0 already.
    unsafe { (&raw const __libc_single_threaded).read_volatile() != 0 }
}

/// Returns true when /proc shows that this process is a single task.
#[cfg(not(target_env = "gnu"))]
fn has_one_task() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// fork(2) from the test harness, whose other threads may hold locks.
#[cfg(test)]
pub(crate) fn fork_among_threads() -> nix::Result<Fork> {
    // SAFETY: the child of a test uses only system calls and atomics until it ends by _exit, and
    // what it allocates is safe, because glibc's malloc is usable after fork.
    let forked = Errno::result(unsafe { libc::fork() })?;
    Ok(if forked == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(forked)) })
}

/// What a child of [`fork_among_threads`] is.
#[cfg(test)]
pub(crate) fn one_task() -> OneTask {
    OneTask(PhantomData)
}

/// Runs the child: `life` returns the exit code, and a panic ends here. The copies of the parent's
/// values are not dropped, and its buffers not flushed.
///
/// Not inlined, because a session's stack would lie in the frame of the parent's loop.
#[inline(never)]
pub fn child(life: impl FnOnce() -> i32) -> ! {
    exit_now(contain(life))
}

/// Runs `life`, which returns an exit code; a panic returns [`EXIT_PANIC`].
pub fn contain(life: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(life)).unwrap_or(EXIT_PANIC)
}

/// _exit(2): ends this process without running anything.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition; it does not return.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_does_not_fork() {
        // The harness runs each test in a thread.
        assert_eq!(OneTask::check().unwrap_err(), Errno::EDEADLK);
        assert_eq!(fork(OneTask(PhantomData)).unwrap_err(), Errno::EDEADLK);
    }

    #[test]
    fn a_panic_is_an_exit_code() {
        assert_eq!(contain(|| 7), 7);
        assert_eq!(contain(|| std::panic::resume_unwind(Box::new("x"))), EXIT_PANIC);
    }
}
