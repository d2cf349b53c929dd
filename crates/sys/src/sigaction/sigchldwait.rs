//! tcpcliserv/sigchldwait.c, slide "Version of SIGCHLD Handler That Calls wait". Not enough.

use std::ptr::null_mut;

use libc::c_int;
use nix::errno::Errno;

use super::say;

/// Duration of the handler, in milliseconds. On the slide printf to a terminal was slow enough for the
/// other children of a burst to end meanwhile, and their signals, which are not queued, became one.
/// write(2) is too quick for that to happen each time.
const PRINTF_DURATION_MS: c_int = 50;

/// Takes one child. It has a second fault, because wait blocks when no child has ended, and SIGCHLD
/// also comes when one is only stopped.
pub(super) extern "C" fn sig_chld(_signo: c_int) {
    let errno = Errno::last();
    // SAFETY: wait takes a null pointer for "no status wanted"; it is async-signal-safe.
    let pid = unsafe { libc::wait(null_mut()) };
    if pid > 0 {
        say::child_terminated(pid);
    }
    // SAFETY: poll of no descriptors looks at none; it is async-signal-safe.
    unsafe { libc::poll(null_mut(), 0, PRINTF_DURATION_MS) };
    errno.set();
}
