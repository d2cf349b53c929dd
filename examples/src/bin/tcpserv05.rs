//! tcpserv05: the lost signal. SIGTERM sets a flag, and the loop tests it before accept; slide
//! "Crash, Reboot, Shutdown of Server Host": "init process sends SIGTERM to all processes".
//!
//! Run: `tcpserv05 --stop-in-window &`. It stops itself between the test and accept. Then
//! `kill -TERM PID`, `kill -CONT PID`, and `ps PID`.
//! You see the server wait in accept as if nothing had been said to it. `tcpcli01 127.0.0.1` is
//! still served, and only then the server ends.
//! Wrong on purpose: a signal that comes after the test and before accept interrupts nothing; it is
//! lost until the next client comes. Without the option the window is a few instructions wide, and
//! SIGTERM gets lost once in a long while. tcpserv06 is the cure.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, bind, listen, socket};
use unp::{
    Fork, LISTENQ, Restart, Result, SET_A_FLAG, SIG_CHLD_WAITPID, SIG_DFL, accept, came, err_sys,
    family, fork, listening, servaddr_and, signal, stop_here, str_echo,
};

const USAGE: &str = "usage: tcpserv05 [--stop-in-window] [ADDR:PORT]";

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let (servaddr, [mut stop]) = servaddr_and(["--stop-in-window"], USAGE)?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::No).map_err(err_sys("signal error"))?;
    signal(Signal::SIGTERM, SET_A_FLAG, Restart::No).map_err(err_sys("signal error"))?;
    listening(&listenfd)?;
    while !came(Signal::SIGTERM) {
        // SIGTERM that comes here raises the flag after the test, and accept waits nevertheless.
        if std::mem::take(&mut stop) {
            stop_here()?; //          the window made wide, once
        }
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue, // back to the test
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd); //        close listening socket
            signal(Signal::SIGTERM, SIG_DFL, Restart::No).map_err(err_sys("signal error"))?;
            str_echo(connfd)?; //     process the request
            exit(0);
        }
        drop(connfd); //              parent closes connected socket
    }
    Ok(())
}
