//! lib/writen.c: all octets, however few write(2) takes at once.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::write;

/// Writes all of `octets`. It is write(2) itself, so a peer that has reset means SIGPIPE; Rust's
/// runtime ignores that one, and then the error is EPIPE.
///
/// # Errors
/// As write(2) says.
pub fn writen(fd: &impl AsFd, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        match write(fd, octets) {
            Ok(n) => octets = octets.get(n..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
