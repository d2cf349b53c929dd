//! hostcrash_cli: the echo client with the cures for a server's host that crashes, slide "Crash,
//! Reboot, Shutdown of Server Host".
//!
//! Run: `scripts/hostcrash`, which has two hosts and a wire to cut; or `tcpserv04` here, and
//! `hostcrash_cli --keepalive 127.0.0.1`.
//! You see each line that you type come back. When the server's host is silent, `--timeout` makes
//! readline fail after two seconds with EAGAIN, whatever is the matter; `--keepalive` makes it fail
//! with ETIMEDOUT about three seconds after the host's last packet, or with ECONNRESET when it has
//! been rebooted, even if there is nothing to send. Without either it is tcpcli01: when the server
//! has the line and has not answered yet, it waits for ever.
//! Wrong on purpose: like tcpcli01 it notices nothing while it waits for a line to be typed.

use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use nix::sys::socket::sockopt::{
    KeepAlive, ReceiveTimeout, TcpKeepCount, TcpKeepIdle, TcpKeepInterval,
};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};
use unp::{Result, err_sys, family, peeraddr_and, str_cli};

const USAGE: &str = "usage: hostcrash_cli [--keepalive] [--timeout] ADDR[:PORT]";

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let (servaddr, [keepalive, timeout]) = peeraddr_and(["--keepalive", "--timeout"], USAGE)?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    if keepalive {
        set_keepalive(&sockfd).map_err(err_sys("setsockopt error"))?;
    }
    if timeout {
        setsockopt(&sockfd, ReceiveTimeout, &TimeVal::seconds(2))
            .map_err(err_sys("setsockopt error"))?;
    }
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(std::io::stdin().lock(), &sockfd)
}

/// Sends a keepalive probe after a second of silence, then every second, twice. The system's
/// defaults are two hours, 75 seconds and nine probes.
fn set_keepalive(sockfd: &impl AsFd) -> nix::Result<()> {
    setsockopt(sockfd, TcpKeepIdle, &1)?;
    setsockopt(sockfd, TcpKeepInterval, &1)?;
    setsockopt(sockfd, TcpKeepCount, &2)?;
    setsockopt(sockfd, KeepAlive, &true)
}
