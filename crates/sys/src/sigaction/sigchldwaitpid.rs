//! tcpcliserv/sigchldwaitpid.c, slide "Final (correct) Version of sig_chld Function That Calls
//! waitpid".

use std::ptr::null_mut;

use libc::{WNOHANG, c_int};
use nix::errno::Errno;

use super::say;

/// Takes all children that have ended, because one signal may stand for several, and never blocks.
pub(super) extern "C" fn sig_chld(_signo: c_int) {
    let errno = Errno::last(); // the interrupted program may be about to read its own
    loop {
        // SAFETY: waitpid takes a null pointer for "no status wanted"; it is async-signal-safe.
        let pid = unsafe { libc::waitpid(-1, null_mut(), WNOHANG) };
        if pid <= 0 {
            break;
        }
        say::child_terminated(pid);
    }
    errno.set();
}
