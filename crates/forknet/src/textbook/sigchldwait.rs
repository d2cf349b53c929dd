//! tcpcliserv/sigchldwait.c, slide "Version of SIGCHLD Handler That Calls wait". Not enough.

use std::ptr::null_mut;

use libc::c_int;
use nix::errno::Errno;

use super::say;

/// How long the handler takes, in milliseconds. On the slide printf to a terminal took so long that
/// the other children of a burst ended meanwhile, and their signals, which are not queued, became
/// one. Ours would be too quick for that to happen each time.
const AS_LONG_AS_PRINTF_TOOK: c_int = 50;

/// Takes one child. It has a second fault: wait blocks when no child has ended, and SIGCHLD also
/// comes when one is only stopped.
pub(super) extern "C" fn sig_chld(_signo: c_int) {
    let errno = Errno::last();
    // SAFETY: wait takes a null pointer for "no status wanted".
    let pid = unsafe { libc::wait(null_mut()) };
    if pid > 0 {
        say::child_terminated(pid);
    }
    // SAFETY: poll of no descriptors looks at none; it is async-signal-safe.
    unsafe { libc::poll(null_mut(), 0, AS_LONG_AS_PRINTF_TOOK) };
    errno.set();
}
