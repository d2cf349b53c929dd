//! oob_client: sends data out of band, the Spanish slide "Sockets tipo stream".
//!
//! Run: see oob_server; here type lines, and `!` before what is to be urgent.
//! You see nothing here. send with MSG_OOB sets TCP's urgent pointer after the data sent, so the
//! last byte is the urgent one; a line without `!` is sent with its newline, as any other.

use std::io::stdin;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{MsgFlags, SockFlag, SockType, SockaddrStorage, connect, send, socket};
use unp::{Result, err_sys, family, peeraddr, readline, writen};

fn main() -> ExitCode {
    unp::main(oob_client)
}

fn oob_client() -> Result {
    let servaddr = peeraddr("usage: oob_client ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    let (mut input, mut line) = (stdin().lock(), Vec::new());
    while readline(&mut input, &mut line).map_err(err_sys("fgets error"))? > 0 {
        match line.trim_ascii_end().strip_prefix(b"!") {
            Some(urgent) => send(sockfd.as_raw_fd(), urgent, MsgFlags::MSG_OOB)
                .map(drop)
                .map_err(err_sys("send error"))?,
            None => writen(&sockfd, &line).map_err(err_sys("writen error"))?,
        }
    }
    Ok(())
}
