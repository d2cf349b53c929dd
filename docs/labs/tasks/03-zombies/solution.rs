//! Task of lab 03, solved with the slides' handler: one signal, all children. accept, interrupted by
//! it, is restarted by the kernel.
//!
//! Other ways: SIG_IGN in place of the handler, and the kernel keeps no zombies; or SIGCHLD let in
//! during ppoll alone (tcpserv06), and waitpid called by the loop until it finds nobody.

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
    let servaddr = servaddr("usage: reaper [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::Yes).map_err(err_sys("signal error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd);
            str_echo(connfd)?;
            exit(0);
        }
        drop(connfd);
    }
}
