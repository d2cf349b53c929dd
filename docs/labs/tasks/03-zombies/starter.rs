//! Task of lab 03: an echo server that asks for one child whenever a client comes.
//!
//! No zombie may stay, however many children end at once, and though no other client comes.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use nix::sys::wait::{WaitPidFlag, waitpid};
use unp::{Fork, LISTENQ, Result, accept, err_sys, family, fork, listening, servaddr, str_echo};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: reaper [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        let _who_has_ended = waitpid(None, Some(WaitPidFlag::WNOHANG)); // nobody, perhaps
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd);
            str_echo(connfd)?;
            exit(0);
        }
        drop(connfd);
    }
}
