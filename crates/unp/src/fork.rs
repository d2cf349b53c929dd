//! Slide "TCP Echo Server: main function": `if ( (childpid = Fork()) == 0)`.

use sys::fork::OneTask;

pub use sys::fork::Fork;

/// fork(2): two processes return from it.
///
/// # Errors
/// EAGAIN and ENOMEM as fork(2) says; EDEADLK when this process has, or has had, several threads: the
/// child would have one of them, and might wait for ever for a lock that another one held.
pub fn fork() -> nix::Result<Fork> {
    sys::fork::fork(OneTask::check()?)
}
