//! Out-of-band data: what sockets(7) and tcp(7) have for it, and nix has not.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// fcntl(F_SETOWN): SIGURG goes to this process when urgent data come. A socket from accept(2) has no
/// owner on Linux, whatever the listening one has.
///
/// # Errors
/// As fcntl(2) says.
pub fn set_owner(sockfd: &impl AsFd, owner: Pid) -> nix::Result<()> {
    // SAFETY: F_SETOWN takes a number and touches no memory of ours; the descriptor is borrowed and
    // so is open.
    let done = unsafe { libc::fcntl(sockfd.as_fd().as_raw_fd(), libc::F_SETOWN, owner.as_raw()) };
    Errno::result(done).map(drop)
}

/// sockatmark(3): everything that was sent before the urgent octet has been read, nothing that was
/// sent behind it. A read ends at the mark, even if there is more: look before each.
///
/// # Errors
/// The descriptor is no stream socket of the Internet.
pub fn sockatmark(sockfd: &impl AsFd) -> nix::Result<bool> {
    // SAFETY: sockatmark takes a descriptor, which is borrowed and so is open, and no memory of ours.
    let at_mark = unsafe { posix::sockatmark(sockfd.as_fd().as_raw_fd()) };
    Errno::result(at_mark).map(|at_mark| at_mark != 0)
}

/// Neither nix nor libc declares it for Linux; POSIX and every libc there have it.
mod posix {
    unsafe extern "C" {
        pub(super) fn sockatmark(sockfd: libc::c_int) -> libc::c_int;
    }
}
