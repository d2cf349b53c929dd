//! udpcli01: a blind client for datagrams, slide "TCP vs UDP": "no acknowledgements, no
//! retransmissions".
//!
//! Run: `udpserv --lose 2`, then `udpcli01 127.0.0.1`, and type three lines. Then end the server,
//! and type another one.
//! You see the first line come back. After the second one, nothing ever happens again.
//! Wrong on purpose, three times: recvfrom waits for ever for a lost datagram; it does not learn
//! that there is no server (the kernel does, but an unconnected socket belongs to no server in
//! particular); and it takes any datagram, from any sender, for the answer. udpcli is the cure.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::socket::{MsgFlags, SockFlag, SockType, SockaddrStorage, recvfrom, sendto, socket};
use unp::{MAXDGRAM, Result, err_sys, family, peeraddr, readline};

fn main() -> ExitCode {
    unp::main(udpcli)
}

fn udpcli() -> Result {
    let servaddr = peeraddr("usage: udpcli01 ADDR[:PORT]")?;
    let sockfd = socket(family(&servaddr), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    dg_cli(io::stdin().lock(), &sockfd, servaddr)
}

fn dg_cli(mut input: impl BufRead, sockfd: &OwnedFd, servaddr: SocketAddr) -> Result {
    let servaddr = SockaddrStorage::from(servaddr);
    let (mut sendline, mut recvline) = (Vec::new(), [0; MAXDGRAM]);
    while readline(&mut input, &mut sendline).map_err(err_sys("fgets error"))? > 0 {
        sendto(sockfd.as_raw_fd(), &sendline, &servaddr, MsgFlags::empty())
            .map_err(err_sys("sendto error"))?;
        let (n, _whoever) = recvfrom::<SockaddrStorage>(sockfd.as_raw_fd(), &mut recvline)
            .map_err(err_sys("recvfrom error"))?;
        let recvline = recvline.get(..n).unwrap_or_default();
        io::stdout().write_all(recvline).map_err(err_sys("fputs error"))?;
    }
    Ok(())
}
