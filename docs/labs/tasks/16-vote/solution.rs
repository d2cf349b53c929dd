//! Task of lab 16, solved: a vote is an octet of the file, added under a lock, and on disk before it is
//! answered. Its length is the result.
//!
//! With O_APPEND alone no vote would be lost here, for no voter is asked about an earlier vote; the lock is
//! what a server needs that reads before it writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitCode, exit};

use nix::fcntl::{Flock, FlockArg};
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
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        if let Fork::Child = fork().map_err(err_sys("fork error"))? {
            drop(listenfd);
            count(&connfd)?;
            exit(0);
        }
        drop(connfd);
    }
}

fn count(connfd: &OwnedFd) -> Result {
    let mut client = buffered(connfd);
    let mut line = Vec::new();
    while readline(&mut client, &mut line).map_err(err_sys("readline error"))? > 0 {
        let answer = match line.as_slice() {
            b"VOTE\n" => {
                vote().map_err(err_sys("votes"))?;
                "counted\n".to_owned()
            }
            b"RESULT\n" => format!("{}\n", result().map_err(err_sys("votes"))?),
            _ => "VOTE or RESULT\n".to_owned(),
        };
        writen(connfd, answer.as_bytes()).map_err(err_sys("writen error"))?;
    }
    Ok(())
}

/// Opened anew each time: a lock of flock(2) belongs to the open file, and one that was opened before
/// fork would be shared by all children.
fn votes() -> io::Result<Flock<File>> {
    let file = OpenOptions::new().append(true).create(true).open("votes")?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn vote() -> io::Result<()> {
    let mut votes = votes()?;
    votes.write_all(b"x")?;
    votes.sync_all()
}

fn result() -> io::Result<u64> {
    Ok(votes()?.metadata()?.len())
}
