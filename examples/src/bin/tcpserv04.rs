//! tcpserv04: SIGCHLD, EINTR from accept and zombies handled, slides "Final (correct) Version of
//! TCP Echo Server" and "Final (correct) Version of sig_chld Function That Calls waitpid".
//!
//! Run: `tcpserv04`, then `tcpcli04 127.0.0.1`, end it with Ctrl-D, and look at
//! `ps -o pid,ppid,stat,comm --ppid PID-OF-TCPSERV04`.
//! You see `child N terminated` five times and no zombie, and the server serves on.
//! It is right: the handler loops waitpid until no ended child is left, and accept, interrupted, is
//! called again. The slide's `signal` has the kernel restart it as well; here it does not, so that
//! you see that the loop is right without. What it does not do is to end well: see tcpserv05.

use std::os::fd::AsRawFd;
use std::process::{ExitCode, exit};

use nix::errno::Errno;
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
    let servaddr = servaddr("usage: tcpserv04 [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::No).map_err(err_sys("signal error"))?;
    listening(&listenfd)?;
    loop {
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => connfd,
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue, // back to loop
            Err(errno) => return Err(err_sys("accept error")(errno)),
        };
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd); //        close listening socket
            str_echo(connfd)?; //     process the request
            exit(0);
        }
        drop(connfd); //              parent closes connected socket
    }
}
