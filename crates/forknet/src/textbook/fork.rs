//! Slide "TCP Echo Server: main function": `if ( (childpid = Fork()) == 0)`.

use nix::errno::Errno;

use crate::fork::Fork;

/// fork(2): two processes come back from it.
///
/// # Errors
/// EAGAIN and ENOMEM as fork(2) says; EDEADLK when this process has several threads, or /proc cannot
/// tell: the child would have one of them, and might wait for ever for a lock that another one held.
pub fn fork() -> nix::Result<Fork> {
    let tasks = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !tasks.is_ok_and(|tasks| tasks == 1) {
        return Err(Errno::EDEADLK);
    }
    crate::fork::fork()
}
