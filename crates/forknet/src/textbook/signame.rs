//! A handler that says which signal came.

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::say;

pub(super) extern "C" fn sig_name(signo: c_int) {
    let errno = Errno::last();
    let name = Signal::try_from(signo).map_or("a signal", Signal::as_str);
    say::line(&["caught ", name]);
    errno.set();
}
