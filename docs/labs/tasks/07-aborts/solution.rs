//! Task of lab 07, solved: the address comes from accept itself, and an error of one client's is complained
//! of and is not the end of the server's loop; nor are those errors of accept that are a client's.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt::ReuseAddr,
};
use unp::{
    LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, str_echo, writen,
};

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
        match accept(&listenfd) {
            Ok((connfd, cliaddr)) => complain(greet(connfd, &cliaddr.to_string())),
            Err(Errno::EINTR | Errno::ECONNABORTED | Errno::EPROTO) => {}
            Err(errno) => return Err(err_sys("accept error")(errno)),
        }
    }
}

fn greet(connfd: OwnedFd, cliaddr: &str) -> Result {
    let greeting = format!("hello {cliaddr}\n");
    writen(&connfd, greeting.as_bytes()).map_err(err_sys("writen error"))?;
    str_echo(connfd)
}
