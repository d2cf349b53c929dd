//! broadcast_recv: receives broadcasts, slide "Envio a todos los de la red. Pero no pasa los
//! routers".
//!
//! Run: `broadcast_recv --name one` and `broadcast_recv --name two` in two windows, or on two
//! machines; then broadcast_send. On one machine alone: `broadcast_recv 127.255.255.255:9877`.
//! You see both receive one datagram, and answer. The default address is 0.0.0.0 ("no es una IP
//! valida, sirve para decir que me vale"): a socket that is bound to the machine's own address
//! receives only datagrams to that address. SO_REUSEADDR lets several sockets share the port; each
//! gets a copy of a broadcast.
//! Missing on purpose: an attacker who forges a victim's address as the sender makes the whole net
//! answer to that victim. So `echod --udp` answers no broadcasts.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recvfrom, sendto, setsockopt, socket,
    sockopt,
};
use unp::{MAXDGRAM, Result, SERV_PORT, err_sys, family, listening, note, say, words};

fn main() -> ExitCode {
    unp::main(broadcast_recv)
}

fn broadcast_recv() -> Result {
    let line = words(["--name"], "usage: broadcast_recv [--name NAME] [ADDR:PORT]")?;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERV_PORT));
    let servaddr = line.address()?.unwrap_or(everywhere);
    let name = line.value("--name")?.unwrap_or_else(|| format!("process {}", std::process::id()));
    let sockfd = socket(family(&servaddr), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&sockfd, sockopt::ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listening(&sockfd)?;
    serve(&sockfd, &name)
}

fn serve(sockfd: &OwnedFd, name: &str) -> Result {
    let mut mesg = [0; MAXDGRAM];
    let answer = format!("{name} is here");
    loop {
        let (n, from) = recvfrom::<SockaddrStorage>(sockfd.as_raw_fd(), &mut mesg)
            .map_err(err_sys("recvfrom error"))?;
        let (Some(mesg), Some(from)) = (mesg.get(..n), from) else { continue };
        say(format_args!("{from}: {}", unp::printable(mesg)))?;
        if let Err(errno) = sendto(sockfd.as_raw_fd(), answer.as_bytes(), &from, MsgFlags::empty())
        {
            note(err_sys(format_args!("sendto {from}"))(errno));
        }
    }
}
