//! Task of lab 05: a server that says what time it is, in seconds since 1970, and closes first. It shall
//! be possible to start it again at once.

use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, writen};

fn main() -> ExitCode {
    unp::main(timeserv)
}

fn timeserv() -> Result {
    let servaddr = servaddr("usage: timeserv [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
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
