//! Task of lab 07: a server that greets each client by its address, echoes its lines, and dies of the first
//! one that aborts. It shall live.

use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, bind, getpeername, listen, setsockopt, socket,
    sockopt::ReuseAddr,
};
use unp::{LISTENQ, Result, accept, err_sys, family, listening, servaddr, str_echo, writen};

fn main() -> ExitCode {
    unp::main(greetserv)
}

fn greetserv() -> Result {
    let servaddr = servaddr("usage: greetserv [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&listenfd, ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _) = accept(&listenfd).map_err(err_sys("accept error"))?;
        let cliaddr: SockaddrStorage =
            getpeername(connfd.as_raw_fd()).map_err(err_sys("getpeername error"))?;
        writen(&connfd, format!("hello {cliaddr}\n").as_bytes())
            .map_err(err_sys("writen error"))?;
        str_echo(connfd)?;
    }
}
