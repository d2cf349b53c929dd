//! tcpcli01: the slides' first echo client, "TCP Echo Client: main function" and "str_cli
//! function".
//!
//! Run: `tcpserv04`, then `tcpcli01 127.0.0.1`, and type.
//! You see each line come back. Kill the server's child while nothing is typed: nothing happens.
//! Only the next line tells `str_cli: server terminated prematurely`.
//! Wrong on purpose: blocked in fgets, it does not notice that its server has died (slide "Crashing
//! of Server Process"). tcpcli02 is the cure.

use std::io::stdin;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{Result, err_sys, family, peeraddr, str_cli};

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let servaddr = peeraddr("usage: tcpcli01 ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(stdin().lock(), &sockfd) // do it all
}
