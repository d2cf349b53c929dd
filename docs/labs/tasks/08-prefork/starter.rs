//! Task of lab 08: five children, forked in advance, serve everybody. Who dies is not replaced.
//!
//! Let the parent fork another for each that has died. When it is told to end (SIGTERM), all must end.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use unp::{
    Fork, LISTENQ, Result, accept, complain, err_sys, family, fork, listening, servaddr, str_echo,
};

const NCHILDREN: usize = 5;

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: prefork [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    let signals = SigSet::from(Signal::SIGTERM); // blocked, and waited for
    signals.thread_block().map_err(err_sys("sigprocmask error"))?;
    let mut children: Vec<Pid> = Vec::new();
    while children.len() < NCHILDREN {
        match fork().map_err(err_sys("fork error"))? {
            Fork::Child => return child_main(&listenfd, &signals),
            Fork::Parent(pid) => children.push(pid),
        }
    }
    signals.wait().map_err(err_sys("sigwait error"))?;
    for pid in children {
        let _ended_already = kill(pid, Signal::SIGTERM);
        waitpid(pid, None).map_err(err_sys("waitpid error"))?;
    }
    Ok(())
}

fn child_main(listenfd: &OwnedFd, signals: &SigSet) -> Result {
    signals.thread_unblock().map_err(err_sys("sigprocmask error"))?;
    loop {
        let (connfd, _cliaddr) = accept(listenfd).map_err(err_sys("accept error"))?;
        complain(str_echo(connfd));
    }
}
