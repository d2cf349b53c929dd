//! Task of lab 18, solved: connect on a socket that does not block, poll for a second, and SO_ERROR, where
//! the result is when connect has no longer been waited for.
//!
//! Another way: a blocking socket with SO_SNDTIMEO of a second; connect gives EINPROGRESS when it is over.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt};
use unp::{Result, err_sys, family, peeraddr, say};

/// So many milliseconds.
const A_SECOND: u16 = 1000;

fn main() -> ExitCode {
    unp::main(why)
}

fn why() -> Result {
    let servaddr = peeraddr("usage: why ADDR[:PORT]")?;
    match connect_timeo(servaddr) {
        Ok(()) => say("open"),
        Err(Errno::ECONNREFUSED) => say("refused"),
        Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => say("unreachable"),
        Err(Errno::ETIMEDOUT) => say("silent"),
        Err(errno) => Err(err_sys("connect error")(errno)),
    }
}

fn connect_timeo(servaddr: SocketAddr) -> nix::Result<()> {
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::SOCK_NONBLOCK, None)?;
    match connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr)) {
        Err(Errno::EINPROGRESS) => {}
        at_once => return at_once,
    }
    match poll(&mut [PollFd::new(sockfd.as_fd(), PollFlags::POLLOUT)], A_SECOND)? {
        0 => Err(Errno::ETIMEDOUT),
        _ => match getsockopt(&sockfd, sockopt::SocketError)? {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        },
    }
}
