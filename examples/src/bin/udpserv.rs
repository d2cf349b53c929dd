//! udpserv: an echo server by datagrams, slides "TCP vs UDP" and "Con datagramas es mas dificil que
//! con streams porque UDP no tiene garantias".
//!
//! Run: `udpserv`, then `udpcli 127.0.0.1` in another window.
//! You see one process and one socket serve all clients: no listen, no accept, no fork. Each
//! datagram brings its sender's address along (recvfrom), which is all that the answer needs
//! (sendto). `--lose N` drops every Nth datagram, as the net may do at any time: what is lost stays
//! lost.
//! Missing on purpose: an attacker can send a datagram with a victim's address as its sender, and
//! the answer goes there.
//! Two such servers, each taken for the other's client, never end (`echod --udp` prevents that).

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recvfrom, sendto, socket,
};
use unp::{MAXDGRAM, Result, err_sys, family, listening, note, words};

fn main() -> ExitCode {
    unp::main(udpserv)
}

fn udpserv() -> Result {
    let line = words(["--lose"], "usage: udpserv [--lose N] [ADDR:PORT]")?;
    let servaddr = line.address()?.unwrap_or(unp::SERV_ADDR);
    let lose = line.value("--lose")?.unwrap_or(0);
    let sockfd = socket(family(&servaddr), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listening(&sockfd)?;
    dg_echo(&sockfd, lose)
}

fn dg_echo(sockfd: &OwnedFd, lose: usize) -> Result {
    let mut mesg = [0; MAXDGRAM];
    let mut count = 0_usize;
    loop {
        let (n, cliaddr) = recvfrom::<SockaddrStorage>(sockfd.as_raw_fd(), &mut mesg)
            .map_err(err_sys("recvfrom error"))?;
        let (Some(mesg), Some(cliaddr)) = (mesg.get(..n), cliaddr) else { continue };
        count = count.wrapping_add(1);
        if lose > 0 && count.is_multiple_of(lose) {
            note(format_args!("lost: {n} octets from {cliaddr}"));
            continue;
        }
        // An unreachable client must not end the service for the others.
        if let Err(errno) = sendto(sockfd.as_raw_fd(), mesg, &cliaddr, MsgFlags::empty()) {
            note(err_sys(format_args!("sendto {cliaddr}"))(errno));
        }
    }
}
