//! tcpcli02: an echo client that watches its server while it waits for its user, the solution on
//! slide "Crashing of Server Process": "Use select or poll to block on either socket or stdio".
//!
//! Run: `tcpserv04`, then `tcpcli02 127.0.0.1`, and kill the server's child while nothing is typed.
//! You see `str_cli: server terminated prematurely` at once. `tcpcli02 127.0.0.1 < FILE` prints all
//! of FILE.
//! It is right: it sends and receives as either becomes possible, so neither side can wait for the
//! other for ever; and at its user's end of file it closes only its own direction (shutdown),
//! because answers are still on their way.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::select::{FdSet, select};
use nix::sys::socket::{
    MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, connect, send, shutdown, socket,
};
use nix::unistd::read;
use unp::{MAXLINE, Result, err_quit, err_sys, family, peeraddr, writen};

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let servaddr = peeraddr("usage: tcpcli02 ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(&sockfd)
}

fn str_cli(sockfd: &OwnedFd) -> Result {
    let (stdin, stdout) = (stdin(), stdout());
    let mut buf = [0; MAXLINE];
    let mut unsent = Vec::new(); //   typed, and not taken by the socket yet
    let mut due = 0_u64; //           bytes that the server has yet to send back
    let mut stdineof = false;
    loop {
        let (mut rset, mut wset) = (FdSet::new(), FdSet::new());
        rset.insert(sockfd.as_fd());
        if !unsent.is_empty() {
            wset.insert(sockfd.as_fd());
        } else if !stdineof {
            rset.insert(stdin.as_fd());
        }
        select(None, &mut rset, &mut wset, None, None).map_err(err_sys("select error"))?;
        if rset.contains(sockfd.as_fd()) {
            let n = read(sockfd, &mut buf).map_err(err_sys("read error"))?;
            due = due.saturating_sub(n as u64);
            match n {
                0 if stdineof && due == 0 => return Ok(()), // normal termination
                0 => return Err(err_quit("str_cli: server terminated prematurely")),
                _ => writen(&stdout, buf.get(..n).unwrap_or_default())
                    .map_err(err_sys("standard output"))?,
            }
        }
        if wset.contains(sockfd.as_fd()) {
            match send(sockfd.as_raw_fd(), &unsent, MsgFlags::MSG_DONTWAIT) {
                Ok(n) => drop(unsent.drain(..n)),
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(err_sys("send error")(errno)),
            }
        }
        if rset.contains(stdin.as_fd()) {
            let n = read(&stdin, &mut buf).map_err(err_sys("standard input"))?;
            unsent.extend_from_slice(buf.get(..n).unwrap_or_default());
            due += n as u64;
            if n == 0 {
                stdineof = true;
                shutdown(sockfd.as_raw_fd(), Shutdown::Write).map_err(err_sys("shutdown error"))?;
            }
        }
    }
}
