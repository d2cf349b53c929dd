//! sockatmark(3), and F_SETOWN of fcntl(2): the calls for out-of-band data that nix does not have
//! (socket(7), tcp(7)).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// fcntl(F_SETOWN): sends SIGURG to this process when urgent data come. On Linux a socket from accept(2)
/// has no owner, even where the listening one has.
///
/// # Errors
/// As fcntl(2).
pub fn set_owner(sockfd: &impl AsFd, owner: Pid) -> nix::Result<()> {
    // SAFETY: F_SETOWN takes a number and touches no memory; the descriptor is borrowed and so is
    // open.
    let done = unsafe { libc::fcntl(sockfd.as_fd().as_raw_fd(), libc::F_SETOWN, owner.as_raw()) };
    Errno::result(done).map(drop)
}

/// sockatmark(3): returns true when everything that was sent before the urgent byte has been read,
/// and nothing that was sent after it. A read ends at the mark, even if there is more, so check
/// before each read.
///
/// # Errors
/// The descriptor is no stream socket of the Internet.
pub fn sockatmark(sockfd: &impl AsFd) -> nix::Result<bool> {
    // SAFETY: sockatmark takes a descriptor, which is borrowed and so is open, and touches no
    // memory.
    let at_mark = unsafe { posix::sockatmark(sockfd.as_fd().as_raw_fd()) };
    Errno::result(at_mark).map(|at_mark| at_mark != 0)
}

/// Neither nix nor the libc crate declares it for Linux; every C library has it.
mod posix {
    unsafe extern "C" {
        pub(super) fn sockatmark(sockfd: libc::c_int) -> libc::c_int;
    }
}
