//! socket and connect, for the clients.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect as connect_once, getsockopt,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::error::{Error, Result};
use crate::net::connection::Connection;
use crate::net::counters::Counters;
use crate::net::deadlines::Timeouts;
use crate::net::interrupt::poll_timeout;
use crate::net::resolve::resolve;
use crate::net::stop;
use crate::net::unix_name::UnixName;
use sys::fd::set_nonblocking;

/// Connects to the first address of `host` that answers within `timeout`, which also limits each
/// wait of the connection.
///
/// # Errors
/// `resolve NAME: …` when the name has no address; else the last address's error, as in
/// `connect to 127.0.0.1:110: Connection refused`.
pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<Connection> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let addresses = resolve(bare, port).map_err(Error::io(format!("resolve {host}")))?;
    let not_found = io::Error::new(io::ErrorKind::NotFound, "no address for this name");
    let mut last = Error::Io { what: format!("resolve {host}"), source: not_found };
    for address in addresses {
        match connect_to(address, timeout) {
            Ok(fd) => {
                let timeouts = Timeouts::idle(timeout);
                return Ok(Connection::socket(fd, timeouts, Counters::unshared()));
            }
            Err(errno) => last = Error::os(format!("connect to {address}"))(errno),
        }
    }
    Err(last)
}

/// Connects to a UNIX-domain stream socket. Waits at most `timeout` where the server's queue is
/// full.
///
/// # Errors
/// As `connect to unix:PATH: No such file or directory`.
pub fn connect_unix(name: &UnixName, timeout: Duration) -> Result<Connection> {
    let call = || -> nix::Result<OwnedFd> {
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::SendTimeout, &time_value(timeout))?;
        connect_once(fd.as_raw_fd(), &name.address()?)?;
        Ok(fd)
    };
    let fd = call().map_err(Error::os(format!("connect to unix:{name}")))?;
    Ok(Connection::socket(fd, Timeouts::idle(timeout), Counters::unshared()))
}

/// Rounded up, because zero would mean no limit.
fn time_value(limit: Duration) -> TimeVal {
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
    TimeVal::new(seconds, i64::from(limit.subsec_micros().max(1)))
}

/// connect(2) with a timeout; the socket blocks again afterwards.
fn connect_to(address: SocketAddr, timeout: Duration) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    match connect_once(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS | Errno::EINTR) => finish(&fd, timeout)?,
        Err(errno) => return Err(errno),
    }
    set_nonblocking(&fd, false)?;
    Ok(fd)
}

fn finish(fd: &OwnedFd, timeout: Duration) -> nix::Result<()> {
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], poll_timeout(left)) {
            Ok(0) => return Err(Errno::ETIMEDOUT),
            Err(Errno::EINTR) if stop::is_wanted() => return Err(Errno::EINTR),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    match getsockopt(fd, sockopt::SocketError)? {
        0 => Ok(()),
        code => Err(Errno::from_raw(code)),
    }
}
