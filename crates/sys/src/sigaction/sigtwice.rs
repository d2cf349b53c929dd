//! A handler that sends its own signal to itself, slide "POSIX signal semantics": "The signal being
//! delivered is blocked while a signal handler is executing".

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::say;

/// The signal was sent again already.
static SENT: AtomicBool = AtomicBool::new(false);

/// Writes a line when it begins and when it ends. The first time it sends the signal again in
/// between. If that were not blocked, a second handler would begin before the first one ends.
pub(super) extern "C" fn sig_twice(signo: c_int) {
    let errno = Errno::last();
    let name = Signal::try_from(signo).map_or("a signal", Signal::as_str);
    say::line(&["handler of ", name, " begins"]);
    if !SENT.swap(true, SeqCst) {
        say::line(&["    sends itself ", name]);
        // SAFETY: raise takes any number and is async-signal-safe.
        unsafe { libc::raise(signo) };
    }
    say::line(&["handler of ", name, " ends"]);
    errno.set();
}
