//! Task of lab 05, solved: SO_REUSEADDR lets a server have a port where only connections in TIME_WAIT are
//! left. It has to be set before bind, which is what would fail. (SO_REUSEPORT would let two listen.)

use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt::ReuseAddr,
};
use unp::{LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, writen};

fn main() -> ExitCode {
    unp::main(timeserv)
}

fn timeserv() -> Result {
    let servaddr = servaddr("usage: timeserv [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&listenfd, ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        complain(writen(&connfd, format!("{now}\n").as_bytes()).map_err(err_sys("writen error")));
        drop(connfd); // the first FIN is ours
    }
}
