//! A handler that writes the name of its signal.

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::say;

/// Writes `caught SIGTERM`, or another signal's name.
pub(super) extern "C" fn sig_name(signo: c_int) {
    let errno = Errno::last();
    let name = Signal::try_from(signo).map_or("a signal", Signal::as_str);
    say::line(&["caught ", name]);
    errno.set();
}
