//! Task of lab 08, solved: SIGCHLD is one of the signals that the parent waits for, and stands for any
//! number of children (lab 03).

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
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
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]);
    signals.thread_block().map_err(err_sys("sigprocmask error"))?;
    let mut children: Vec<Pid> = Vec::new();
    loop {
        while children.len() < NCHILDREN {
            match fork().map_err(err_sys("fork error"))? {
                Fork::Child => return child_main(&listenfd, &signals),
                Fork::Parent(pid) => children.push(pid),
            }
        }
        match signals.wait().map_err(err_sys("sigwait error"))? {
            Signal::SIGCHLD => forget_the_dead(&mut children),
            _ => break,
        }
    }
    for pid in children {
        let _ended_already = kill(pid, Signal::SIGTERM);
        waitpid(pid, None).map_err(err_sys("waitpid error"))?;
    }
    Ok(())
}

/// One signal, any number of dead.
fn forget_the_dead(children: &mut Vec<Pid>) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
        children.retain(|child| status.pid() != Some(*child));
    }
}

fn child_main(listenfd: &OwnedFd, signals: &SigSet) -> Result {
    signals.thread_unblock().map_err(err_sys("sigprocmask error"))?;
    loop {
        let (connfd, _cliaddr) = accept(listenfd).map_err(err_sys("accept error"))?;
        complain(str_echo(connfd));
    }
}
