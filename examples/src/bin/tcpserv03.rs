//! tcpserv03: the interrupted system call, slide "Handling SIGCHILD, Interrupted System Calls, and
//! Preventing Zombies".
//!
//! Run: `tcpserv03`, then `tcpcli01 127.0.0.1`, and end it with Ctrl-D.
//! You see `tcpserv03: accept error: Interrupted system call`: the server is gone, and so is the
//! service, after its first client.
//! Wrong on purpose: the handler interrupts accept, which is not restarted here, as on some
//! kernels, and the loop does not check for EINTR. tcpserv04 is the cure: compare the two.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{
    Fork, LISTENQ, Restart, Result, SIG_CHLD_WAITPID, accept, err_sys, family, fork, listening,
    servaddr, signal, str_echo,
};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: tcpserv03 [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::No).map_err(err_sys("signal error"))?;
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
