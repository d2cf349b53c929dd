//! sum_text_cli: the client of sum_text_serv, slide "Data Format string or binary": "pass in string only".
//!
//! Run: `sum_text_serv`, then `sum_text_cli 127.0.0.1`; type `1 2`, `-22 -77`, `one two`.
//! You see 3, -99 and `input error`. It is tcpcli01: for text, nothing changes at this end.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{Result, err_sys, family, peeraddr, str_cli};

fn main() -> ExitCode {
    unp::main(sum_text_cli)
}

fn sum_text_cli() -> Result {
    let servaddr = peeraddr("usage: sum_text_cli ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(io::stdin().lock(), &sockfd)
}
