//! Task of lab 02: an echo server with a child for each client, in which nobody closes anything.
//!
//! After fork both processes have both descriptors. Let each close what is not its own.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{Fork, LISTENQ, Result, accept, err_sys, family, fork, listening, servaddr, str_echo};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: concurrent [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    let mut connections = Vec::new(); // in Rust a descriptor is closed unless somebody keeps it
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            str_echo(connfd)?;
            exit(0);
        }
        connections.push(connfd);
    }
}
