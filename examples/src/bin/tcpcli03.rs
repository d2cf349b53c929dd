//! tcpcli03: killed without a word, slide "SIGPIPE Signal".
//!
//! Run: `tcpserv04`, then `tcpcli03 127.0.0.1`; kill the server's child, type a line, `echo $?`.
//! You see nothing at all but 141, which is 128 and 13: the client died of SIGPIPE. With `--catch`
//! you see `caught SIGPIPE` and `writen error: Broken pipe` (EPIPE), and the exit code is 1.
//! Wrong on purpose: it does not check what readline returns, and writes twice to a server that has
//! gone. To the first byte of the line the server's host answers RST; the rest of the line is
//! written to a connection that has received RST, and that is SIGPIPE. tcpcli02 is the cure.

use std::io::{Write, stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, SockType, SockaddrStorage, connect, socket};
use unp::{
    Restart, Result, SAY_ITS_NAME, SIG_DFL, buffered, err_sys, family, peeraddr_and, readline,
    signal, writen,
};

/// Longest wait for the RST, in milliseconds. A live server sends none.
const RST_TIMEOUT: u16 = 250;

fn main() -> ExitCode {
    unp::main(tcpcli)
}

fn tcpcli() -> Result {
    let (servaddr, [catch]) = peeraddr_and(["--catch"], "usage: tcpcli03 [--catch] ADDR[:PORT]")?;
    // The default, as in every C program, because Rust's runtime ignores SIGPIPE.
    let func = if catch { SAY_ITS_NAME } else { SIG_DFL };
    signal(Signal::SIGPIPE, func, Restart::Yes).map_err(err_sys("signal error"))?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    str_cli(&sockfd)
}

fn str_cli(sockfd: &OwnedFd) -> Result {
    let (mut input, mut sock) = (stdin().lock(), buffered(sockfd));
    let (mut sendline, mut recvline) = (Vec::new(), Vec::new());
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        let (first, rest) = sendline.split_at(1);
        writen(sockfd, first).map_err(err_sys("writen error"))?; //   answered by RST
        let mut fds = [PollFd::new(sockfd.as_fd(), PollFlags::empty())]; // errors alone
        poll(&mut fds, RST_TIMEOUT).map_err(err_sys("poll error"))?;
        writen(sockfd, rest).map_err(err_sys("writen error"))?; //    SIGPIPE
        readline(&mut sock, &mut recvline).map_err(err_sys("readline error"))?; // 0: not checked
        stdout().write_all(&recvline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}
