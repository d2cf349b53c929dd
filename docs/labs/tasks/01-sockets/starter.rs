//! Task of lab 01: a server that answers each client with one line,
//! `you are ADDR:PORT, I am ADDR:PORT`, and closes. One client after the other.
//!
//! Of itself it knows only what it was told to bind. Let it say which address and port this client is
//! really connected to.

use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, writen};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: four-numbers [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        let answer = format!("you are {cliaddr}, I am {servaddr}\n");
        complain(writen(&connfd, answer.as_bytes()).map_err(err_sys("writen error")));
    }
}
