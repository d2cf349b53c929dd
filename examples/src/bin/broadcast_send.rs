//! broadcast_send: one datagram to every machine on the net, slide "Envio a todos los de la red.
//! Pero no pasa los routers, no lo encaminan".
//!
//! Run: `broadcast_send 192.0.2.255:9877 'who is there?'`, with your own network's broadcast
//! address (`ip address` shows it after `brd`); on one machine alone
//! `broadcast_send 127.255.255.255:9877 hello`.
//! You see EACCES first, because the kernel requires SO_BROADCAST for a datagram that disturbs
//! every machine on the net. Then one sendto, and as many answers as there are receivers.
//! `--wait S` listens for S seconds.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, recvfrom, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use unp::{MAXDGRAM, Result, err_sys, family, say, words};

fn main() -> ExitCode {
    unp::main(broadcast_send)
}

fn broadcast_send() -> Result {
    let mut line = words(["--wait"], "usage: broadcast_send [--wait SECONDS] ADDR:PORT TEXT")?;
    if line.words.len() != 2 {
        return Err(line.wrong());
    }
    let text = line.words.remove(1);
    let broadcast = line.address()?.ok_or_else(|| line.wrong())?;
    let timeout = line.seconds("--wait", 1.0)?;
    let sockfd = socket(family(&broadcast), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    let broadcast = SockaddrStorage::from(broadcast);
    let send = || sendto(sockfd.as_raw_fd(), text.as_bytes(), &broadcast, MsgFlags::empty());
    match send() {
        Ok(n) => say(format_args!("{broadcast} is one host's address: {n} octets sent"))?,
        Err(Errno::EACCES) => {
            say(format_args!("without SO_BROADCAST: {}", err_sys("sendto error")(Errno::EACCES)))?;
            setsockopt(&sockfd, sockopt::Broadcast, &true).map_err(err_sys("setsockopt error"))?;
            let n = send().map_err(err_sys("sendto error"))?;
            say(format_args!("with SO_BROADCAST: {n} octets sent to {broadcast}"))?;
        }
        Err(errno) => return Err(err_sys("sendto error")(errno)),
    }
    let answers = answers(&sockfd, Instant::now() + timeout)?;
    say(format_args!("{answers} answers"))
}

/// Prints the datagrams received until then, and returns their number.
fn answers(sockfd: &OwnedFd, until: Instant) -> Result<usize> {
    let mut mesg = [0; MAXDGRAM];
    let mut count = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left < Duration::from_micros(1) {
            return Ok(count); // SO_RCVTIMEO of zero would mean "for ever"
        }
        let timeout = TimeVal::microseconds(left.as_micros() as i64);
        setsockopt(sockfd, sockopt::ReceiveTimeout, &timeout)
            .map_err(err_sys("setsockopt error"))?;
        match recvfrom::<SockaddrStorage>(sockfd.as_raw_fd(), &mut mesg) {
            Ok((n, Some(from))) => {
                let text = unp::printable(mesg.get(..n).unwrap_or_default());
                say(format_args!("{from}: {text}"))?;
                count += 1;
            }
            Ok((_, None)) | Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(err_sys("recvfrom error")(errno)),
        }
    }
}
