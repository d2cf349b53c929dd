//! lib/writen.c: all bytes, however few write(2) takes at once.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::write;

/// Writes all of `bytes`. It uses write(2) itself, so a connection that the peer has reset means
/// SIGPIPE; Rust's runtime ignores that signal, and then the error is EPIPE.
///
/// # Errors
/// As write(2) says.
pub fn writen(fd: &impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
