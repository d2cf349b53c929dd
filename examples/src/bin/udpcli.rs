//! udpcli: a client for datagrams that knows how little it may expect, slides "TCP vs UDP" and
//! "Muchas veces no hay respuesta, o llegan dos, o descolocadas".
//!
//! Run: `udpserv --lose 2`, then `udpcli 127.0.0.1`, and type three lines. Then end the server, and
//! type another one.
//! You see `no answer within 2 s: it is lost` for the second line, and the third come back: what is
//! lost stays lost, but the client goes on. Without the server: `recv error: Connection refused`.
//! connect sends nothing here; it only notes the one address that this socket talks to. So the
//! kernel drops datagrams from other addresses, and can report a closed port to the client (ICMP
//! "port unreachable"). `--wait S` waits S seconds for each answer. Exit code 1 when something was
//! lost.
//! Right, but not TCP: it does not send again, nor slow down when the net is full.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, connect, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use unp::{MAXDGRAM, Result, err_quit, err_sys, family, note, readline, words};

fn main() -> ExitCode {
    unp::main(udpcli)
}

fn udpcli() -> Result {
    let line = words(["--wait"], "usage: udpcli [--wait SECONDS] ADDR[:PORT]")?;
    let servaddr = line.address()?.ok_or_else(|| line.wrong())?;
    let timeout = line.seconds("--wait", 2.0)?;
    let sockfd = socket(family(&servaddr), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    dg_cli(io::stdin().lock(), &sockfd, timeout)
}

fn dg_cli(mut input: impl BufRead, sockfd: &OwnedFd, timeout: Duration) -> Result {
    let (mut sendline, mut recvline) = (Vec::new(), [0; MAXDGRAM]);
    let mut lost = 0;
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        send(sockfd.as_raw_fd(), &sendline, MsgFlags::empty()).map_err(err_sys("send error"))?;
        if answer(sockfd, &sendline, &mut recvline, timeout)? {
            io::stdout().write_all(&sendline).map_err(err_sys("fputs error"))?;
        } else {
            let wait = timeout.as_secs_f64();
            note(format_args!("no answer within {wait} s: it is lost"));
            lost += 1;
        }
    }
    if lost > 0 { Err(err_quit(format!("{lost} without an answer"))) } else { Ok(()) }
}

/// Waits for `asked` to come back. Other datagrams are late answers to earlier lines.
fn answer(sockfd: &OwnedFd, asked: &[u8], mesg: &mut [u8], timeout: Duration) -> Result<bool> {
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.as_micros() == 0 {
            return Ok(false); // SO_RCVTIMEO of zero would mean "for ever"
        }
        setsockopt(
            sockfd,
            sockopt::ReceiveTimeout,
            &TimeVal::microseconds(left.as_micros() as i64),
        )
        .map_err(err_sys("setsockopt error"))?;
        match recv(sockfd.as_raw_fd(), mesg, MsgFlags::empty()) {
            Ok(n) if mesg.get(..n) == Some(asked) => return Ok(true),
            Ok(n) => {
                note(format_args!("too late: an answer of {n} octets"));
            }
            Err(Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(err_sys("recv error")(errno)),
        }
    }
}
