//! tcpserv01: a child for each client, slides "TCP Echo Server: main function" and "str_echo
//! function".
//!
//! Run: `tcpserv01`, then `tcpcli01 127.0.0.1` or `tcpcli04 127.0.0.1`, end it with Ctrl-D, and
//! look at `ps -o pid,ppid,stat,comm --ppid PID-OF-TCPSERV01`.
//! You see every line come back, and a zombie (Z) for every client that has gone.
//! Wrong on purpose: the parent does not wait for the children (slide "Handling SIGCHILD").
//! tcpserv02 and tcpserv03 are wrong in other ways, tcpserv04 is the cure.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{Fork, LISTENQ, Result, accept, err_sys, family, fork, listening, servaddr, str_echo};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: tcpserv01 [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd); //        close listening socket
            str_echo(connfd)?; //     process the request
            exit(0);
        }
        drop(connfd); //              parent closes connected socket
    }
}
