//! Task of lab 15, solved with keepalive: the host's TCP answers for the slow process, and nobody for a
//! host that is gone. A read time-out could not tell the two apart.
//!
//! Keepalive asks only while nothing is unacknowledged; a line that was sent into the void is TCP's own to
//! send again, and TCP_USER_TIMEOUT says for how long.

use std::io::stdin;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use nix::sys::socket::sockopt::{
    KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout,
};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket};
use unp::{Result, err_sys, family, peeraddr, str_cli};

/// For what is not acknowledged, in milliseconds.
const AT_MOST: u32 = 3000;

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let servaddr = peeraddr("usage: patient ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    notice_a_crash(&sockfd).map_err(err_sys("setsockopt error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(stdin().lock(), &sockfd)
}

/// After a second of silence every second, twice.
fn notice_a_crash(sockfd: &impl AsFd) -> nix::Result<()> {
    setsockopt(sockfd, TcpKeepIdle, &1)?;
    setsockopt(sockfd, TcpKeepInterval, &1)?;
    setsockopt(sockfd, TcpKeepCount, &2)?;
    setsockopt(sockfd, TcpUserTimeout, &AT_MOST)?;
    setsockopt(sockfd, KeepAlive, &true)
}
