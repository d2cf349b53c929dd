//! tcpserv_iterative: one client after the other, slide "El servidor atiende la peticion
//! personalmente".
//!
//! Run: `tcpserv_iterative`, then `tcpcli01 127.0.0.1` in two terminals, and type in both.
//! You see the second client get no answer before the first has gone: its connection is made (the
//! system does that, listen's queue), but not accepted. `ps` shows one process.
//! Not wrong for short requests, where a child would cost more than the answer; wrong for clients
//! who sit and type.

use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{LISTENQ, Result, accept, complain, err_sys, family, listening, servaddr, str_echo};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: tcpserv_iterative [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        complain(str_echo(connfd)); // a client that is lost is no reason to end
    }
}
