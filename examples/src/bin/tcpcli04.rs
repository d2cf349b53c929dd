//! tcpcli04: five connections to one server, slide "Client Terminates All Five Connections".
//!
//! Run: `tcpserv02`, then `tcpcli04 127.0.0.1`, type a line, end with Ctrl-D, and look at
//! `ps -o pid,ppid,stat,comm --ppid PID-OF-TCPSERV02`.
//! You see zombies (Z): the five FINs end five children at once, and signals are not queued. With
//! tcpserv04 there are none, with tcpserv01 there are five.

use std::io::stdin;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{Result, err_sys, family, peeraddr, str_cli};

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let servaddr = peeraddr("usage: tcpcli04 ADDR[:PORT]")?;
    let mut sockfd = Vec::new();
    for _ in 0..5 {
        let fd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
            .map_err(err_sys("socket error"))?;
        connect(fd.as_raw_fd(), &SockaddrStorage::from(servaddr))
            .map_err(err_sys("connect error"))?;
        sockfd.push(fd);
    }
    sockfd.first().map_or(Ok(()), |first| str_cli(stdin().lock(), first)) // the end closes all five
}
