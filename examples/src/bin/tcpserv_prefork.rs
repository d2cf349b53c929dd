//! tcpserv_prefork: five children, forked before any client comes; each calls accept for itself
//! (Stevens, chapter 30).
//!
//! Run: `tcpserv_prefork`, look at `ps -o pid,ppid,stat,comm --ppid PID`, then `tcpcli04 127.0.0.1`
//! and look again; end the server with `kill PID`.
//! You see the same five children before, during and after: no fork for a client, no zombie. A
//! sixth client waits until one of the five is free.
//! The parent serves no client. It waits for SIGTERM or SIGINT and then ends its children.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid};
use unp::{
    Fork, LISTENQ, Result, accept, complain, err_sys, family, fork, listening, servaddr, str_echo,
};

const NCHILDREN: usize = 5;

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: tcpserv_prefork [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    let stop = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    stop.thread_block().map_err(err_sys("sigprocmask error"))?;
    let (mut children, parent) = (Vec::new(), getpid());
    for _ in 0..NCHILDREN {
        match fork().map_err(err_sys("fork error"))? {
            Fork::Child => return child_main(&listenfd, &stop, parent),
            Fork::Parent(pid) => children.push(pid),
        }
    }
    listening(&listenfd)?;
    stop.wait().map_err(err_sys("sigwait error"))?;
    for pid in children {
        let _ended_already = kill(pid, Signal::SIGTERM);
        waitpid(pid, None).map_err(err_sys("waitpid error"))?;
    }
    Ok(())
}

fn child_main(listenfd: &OwnedFd, stop: &SigSet, parent: Pid) -> Result {
    set_pdeathsig(Signal::SIGTERM).map_err(err_sys("prctl error"))?; // not to outlive the parent
    if getppid() != parent {
        return Ok(()); // which was killed before the line above
    }
    stop.thread_unblock().map_err(err_sys("sigprocmask error"))?;
    loop {
        match accept(listenfd) {
            Ok((connfd, _cliaddr)) => complain(str_echo(connfd)), // process the request
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(errno) => return Err(err_sys("accept error")(errno)),
        }
    }
}
