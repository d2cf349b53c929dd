//! The line of a server that is ready, and the family of its address.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{AddressFamily, SockaddrStorage, getsockname};

use crate::error::{Result, err_sys};
use crate::note::note;

/// Prints `listening on ADDR:PORT` on standard error, with the port that the system chose where the
/// server had asked for any.
///
/// # Errors
/// The descriptor is no socket.
pub fn listening(listenfd: &impl AsFd) -> Result {
    let at: SockaddrStorage =
        getsockname(listenfd.as_fd().as_raw_fd()).map_err(err_sys("getsockname error"))?;
    note(format_args!("listening on {at}"));
    Ok(())
}

/// Returns AF_INET or AF_INET6, for `socket`.
#[must_use]
pub fn family(address: &SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    }
}
