//! A solution of lab 09: each line is sent again until it comes back, five times at most. A number before
//! the line tells its answer from that to another line, even to the same text.

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

/// So often is a line sent.
const ATTEMPTS: u32 = 5;
/// So long is the first answer waited for, and twice as long each time.
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
    let mut number = 0_u32;
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        number = number.wrapping_add(1);
        let mesg = [&number.to_be_bytes(), sendline.as_slice()].concat();
        if !comes_back(sockfd, &mesg)? {
            return Err(err_quit("no answer"));
        }
        io::stdout().write_all(&sendline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}

fn comes_back(sockfd: &OwnedFd, mesg: &[u8]) -> Result<bool> {
    for attempt in 0..ATTEMPTS {
        send(sockfd.as_raw_fd(), mesg, MsgFlags::empty()).map_err(err_sys("send error"))?;
        if answered(sockfd, mesg, PATIENCE * 2_u32.pow(attempt))? {
            return Ok(true);
        }
    }
    Ok(false)
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
