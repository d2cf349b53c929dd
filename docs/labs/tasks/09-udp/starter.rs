//! Task of lab 09: a client by datagrams that gets every line back, though the network loses some.
//!
//! It sends a line once, and gives up when no answer comes within 0.2 seconds. Let it send again, five
//! times in all, and wait twice as long each time. And what if the answer to the last line comes twice, and
//! the next line is the same?

use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, connect, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use unp::{MAXDGRAM, Result, err_quit, err_sys, family, peeraddr, readline};

/// So long is the first answer waited for.
const PATIENCE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    unp::main(udpcli)
}

fn udpcli() -> Result {
    let servaddr = peeraddr("usage: udpcli ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    dg_cli(io::stdin().lock(), &sockfd)
}

fn dg_cli(mut input: impl BufRead, sockfd: &OwnedFd) -> Result {
    let mut sendline = Vec::new();
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        send(sockfd.as_raw_fd(), &sendline, MsgFlags::empty()).map_err(err_sys("send error"))?;
        if !answered(sockfd, &sendline, PATIENCE)? {
            return Err(err_quit("no answer"));
        }
        io::stdout().write_all(&sendline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}

/// Waits for `asked` to come back.
fn answered(sockfd: &OwnedFd, asked: &[u8], patience: Duration) -> Result<bool> {
    let until = Instant::now() + patience;
    let mut mesg = [0; MAXDGRAM];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.as_micros() == 0 {
            return Ok(false); // as a time-out, zero would mean "for ever"
        }
        let timeout = TimeVal::microseconds(left.as_micros() as i64);
        setsockopt(sockfd, sockopt::ReceiveTimeout, &timeout)
            .map_err(err_sys("setsockopt error"))?;
        match recv(sockfd.as_raw_fd(), &mut mesg, MsgFlags::empty()) {
            Ok(n) if mesg.get(..n) == Some(asked) => return Ok(true),
            Ok(_) => {} // an answer to something else
            Err(Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(err_sys("recv error")(errno)),
        }
    }
}
