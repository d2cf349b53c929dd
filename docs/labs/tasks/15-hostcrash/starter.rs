//! Task of lab 15: tcpcli01, which waits for a slow server, as it should, and for one whose host has
//! crashed. Let it notice within five seconds that the host is gone, and wait for the slow one all the
//! same.

use std::io::stdin;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{Result, err_sys, family, peeraddr, str_cli};

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let servaddr = peeraddr("usage: patient ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(stdin().lock(), &sockfd)
}
