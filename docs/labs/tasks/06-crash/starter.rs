//! Task of lab 06: a client that dies silently when its server is gone; it shall say so, at once.

use std::fs::File;
use std::io::{BufReader, Write, stdin, stdout};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{Restart, Result, SIG_DFL, err_sys, family, peeraddr, readline, signal, writen};

fn main() -> ExitCode {
    unp::main(client)
}

fn client() -> Result {
    let servaddr = peeraddr("usage: client ADDR[:PORT]")?;
    signal(Signal::SIGPIPE, SIG_DFL, Restart::Yes).map_err(err_sys("signal error"))?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(&sockfd)
}

fn str_cli(sockfd: &OwnedFd) -> Result {
    let sock = sockfd.try_clone().map_err(err_sys("dup error"))?;
    let (mut input, mut sock) = (stdin().lock(), BufReader::new(File::from(sock)));
    let (mut sendline, mut recvline) = (Vec::new(), Vec::new());
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        writen(sockfd, &sendline).map_err(err_sys("writen error"))?;
        readline(&mut sock, &mut recvline).map_err(err_sys("readline error"))?;
        stdout().write_all(&recvline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}
