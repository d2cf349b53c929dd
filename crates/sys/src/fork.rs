//! fork(2), and the child's half of it.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::generation::Borrow;

/// Exit code of a process that panicked, as Rust's runtime would choose it.
pub const EXIT_PANIC: i32 = 101;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, and the child's id.
    Parent(Pid),
}

/// The precondition of [`fork`]: this process is one task. A child has only the thread that forked,
/// and would wait for ever for a lock that another one held at that moment, malloc's first of all.
///
/// It is of no use in another thread, so it cannot be sent there; and because a thread can still be
/// started after it was made, `fork` looks again.
#[derive(Clone, Copy, Debug)]
pub struct OneTask(PhantomData<*const ()>);

impl OneTask {
    /// Checks that this process is one task.
    ///
    /// # Errors
    /// EDEADLK: it has, or has had, several threads.
    pub fn check() -> nix::Result<OneTask> {
        if has_one_task() { Ok(OneTask(PhantomData)) } else { Err(Errno::EDEADLK) }
    }
}

/// fork(2): two processes come back from it.
///
/// # Errors
/// EAGAIN and ENOMEM as fork(2) says; EDEADLK when a thread was started since `OneTask` was checked,
/// or within [`Private::with`](crate::private_memory::Private::with).
pub fn fork(_: OneTask) -> nix::Result<Fork> {
    if !has_one_task() || Borrow::is_active() {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: one task at this point, as was just checked, so the child inherits no lock that a
    // missing thread holds, and may do whatever the parent may. There are no handlers of
    // pthread_atfork(3) to be called: neither we nor libc register any.
    let forked = Errno::result(unsafe { raw_fork() })?;
    Ok(if forked == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(forked)) })
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// _Fork(3), of POSIX.1-2024: fork(2) that leaves libc's locks alone. With one task they are free,
    /// and to make them free once more in each child is to copy three pages.
    #[link_name = "_Fork"]
    fn raw_fork() -> libc::pid_t;
    /// sys/single_threaded.h: not 0 while the process has one thread and never had more.
    static __libc_single_threaded: libc::c_char;
}

#[cfg(not(target_env = "gnu"))]
use libc::fork as raw_fork;

/// Returns true when this process is a single task. glibc keeps account of that itself.
#[cfg(target_env = "gnu")]
fn has_one_task() -> bool {
    // SAFETY: libc writes to it only in pthread_create, and in this process there is no other thread
    // that could be calling that, or the value is 0 already.
    unsafe { (&raw const __libc_single_threaded).read_volatile() != 0 }
}

/// Returns true when this process is a single task; a /proc that does not tell is no proof.
#[cfg(not(target_env = "gnu"))]
fn has_one_task() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// fork(2) from the test harness, whose other threads may hold locks.
#[cfg(test)]
pub(crate) fn fork_among_threads() -> nix::Result<Fork> {
    // SAFETY: the child of a test uses only system calls and atomics until it ends by _exit, and what
    // it allocates is allocated by libc's fork handlers' own rules (malloc is usable after fork in glibc).
    let forked = Errno::result(unsafe { libc::fork() })?;
    Ok(if forked == 0 { Fork::Child } else { Fork::Parent(Pid::from_raw(forked)) })
}

/// The child's whole life: `life` gives the exit code, a panic ends here, and the parent's `Drop`s
/// and buffers, which this process has copies of, are left alone.
///
/// Not inlined: what a session has on its stack would lie in the frame of the parent's loop.
#[inline(never)]
pub fn child(life: impl FnOnce() -> i32) -> ! {
    exit_now(contain(life))
}

/// Runs `life`, which gives an exit code; a panic ends here, and gives [`EXIT_PANIC`].
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
