//! tcpserv06: no signal is lost. The signals are blocked, and ppoll opens the mask only while it waits;
//! the cure for tcpserv05.
//!
//! Run: `tcpserv06 --stop-in-window &`. It stops itself where tcpserv05 does, between the test and the
//! wait. Then `kill -TERM PID`, `kill -CONT PID`, and `ps PID`.
//! You see that the server has ended, without any client's help.
//! It is right: a blocked signal stays pending, and ppoll takes the mask away and begins to wait in one
//! step, so a signal from before the wait ends it just as one during it. (A ppoll that finds a client
//! at once lets no signal in; the next one that has to wait does. The daemons do not even wait for
//! that: forknet's signals.rs.)

use std::os::fd::{AsFd, AsRawFd};
use std::process::{ExitCode, exit};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{
    Fork, LISTENQ, Restart, Result, SET_A_FLAG, SIG_CHLD_WAITPID, SIG_DFL, accept, came, err_sys,
    family, fork, listening, servaddr_and, signal, stop_here, str_echo,
};

const USAGE: &str = "usage: tcpserv06 [--stop-in-window] [ADDR:PORT]";

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let (servaddr, [mut stop]) = servaddr_and(["--stop-in-window"], USAGE)?;
    let ours = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM]);
    let mut open = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut open))
        .map_err(err_sys("sigprocmask error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::No).map_err(err_sys("signal error"))?;
    signal(Signal::SIGTERM, SET_A_FLAG, Restart::No).map_err(err_sys("signal error"))?;
    // Non-blocking: accept must not wait, should the client that ppoll saw be gone meanwhile.
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::SOCK_NONBLOCK, None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    while !came(Signal::SIGTERM) {
        if std::mem::take(&mut stop) {
            stop_here()?; //          the same window: what comes here stays pending
        }
        let mut fds = [PollFd::new(listenfd.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, None, Some(open)) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue, // back to the test
            Err(errno) => return Err(err_sys("ppoll error")(errno)),
        }
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd); //        close listening socket
            signal(Signal::SIGTERM, SIG_DFL, Restart::No).map_err(err_sys("signal error"))?;
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&open), None)
                .map_err(err_sys("sigprocmask error"))?;
            str_echo(connfd)?; //     process the request
            exit(0);
        }
        drop(connfd); //              parent closes connected socket
    }
    Ok(())
}
