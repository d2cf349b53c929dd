//! tcpserv02: a SIGCHLD handler that calls wait, slide "Version of SIGCHLD Handler That Calls wait".
//!
//! Run: `tcpserv02`, then `tcpcli04 127.0.0.1`, end it with Ctrl-D, and look at
//! `ps -o pid,ppid,stat,comm --ppid PID-OF-TCPSERV02`.
//! You see `child N terminated` once or a few times, and one zombie (Z) to four of them.
//! Wrong on purpose: signals are not queued. Five children end at once, the handler runs fewer than
//! five times and takes one child each time (slide "wait and waitpid Functions"). Stop the server
//! while they end (`kill -STOP`, later `kill -CONT`), and it is just one. tcpserv04 is the cure.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{
    Fork, LISTENQ, Restart, Result, SIG_CHLD_WAIT, accept, err_sys, family, fork, listening,
    servaddr, signal, str_echo,
};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: tcpserv02 [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAIT, Restart::Yes).map_err(err_sys("signal error"))?;
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
