//! Task of lab 16: a server that counts votes, with a child for each client. `VOTE` is answered with
//! `counted`, `RESULT` with the number of votes.
//!
//! It counts in a variable, of which every child has a copy. Let all children count in the file `votes`
//! of the working folder, so that none of them loses another's vote, and none that was answered with
//! `counted` is lost when server and children are killed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitCode, exit};

use nix::sys::signal::Signal;
use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use unp::{
    Fork, LISTENQ, Restart, Result, SIG_CHLD_WAITPID, accept, buffered, err_sys, family, fork,
    listening, readline, servaddr, signal, writen,
};

fn main() -> ExitCode {
    unp::main(tcpserv)
}

fn tcpserv() -> Result {
    let servaddr = servaddr("usage: count [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&listenfd, sockopt::ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGCHLD, SIG_CHLD_WAITPID, Restart::Yes).map_err(err_sys("signal error"))?;
    listening(&listenfd)?;
    let votes = 0;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd);
            count(&connfd, votes)?;
            exit(0);
        }
        drop(connfd);
    }
}

fn count(connfd: &OwnedFd, mut votes: usize) -> Result {
    let mut client = buffered(connfd);
    let mut line = Vec::new();
    while readline(&mut client, &mut line).map_err(err_sys("readline error"))? > 0 {
        let answer = match line.as_slice() {
            b"VOTE\n" => {
                votes += 1;
                "counted\n".to_owned()
            }
            b"RESULT\n" => format!("{votes}\n"),
            _ => "VOTE or RESULT\n".to_owned(),
        };
        writen(connfd, answer.as_bytes()).map_err(err_sys("writen error"))?;
    }
    Ok(())
}
