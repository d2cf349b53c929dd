//! slowserv: a server that is slow to accept, slide "Connection Abort Before accept Returns":
//! "accept called, what happens?"
//!
//! Run: `slowserv`, elsewhere `abortcli 127.0.0.1`, then press Enter here; each Enter is one
//! accept, and the end of file ends the server.
//! You see what Linux does with a client that has gone before it was accepted: accept returns, with
//! a connection and the client's address. The first read: ECONNRESET, and the second: the end of
//! file. getpeername: ENOTCONN. The first write: EPIPE. (After `abortcli --fin` all is well, with 0
//! bytes.) The slide has other answers for other systems: BSD's kernel keeps such a connection to
//! itself, SVR4 fails with EPROTO, POSIX with ECONNABORTED. A server that runs everywhere goes on
//! after both, as tcpserv04 does.

use std::io::stdin;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, bind, getpeername, listen, setsockopt, socket,
    sockopt::ReuseAddr,
};
use nix::unistd::{read, write};
use unp::{LISTENQ, Result, accept, err_sys, family, listening, note, readline, say, servaddr};

fn main() -> ExitCode {
    unp::main(slowserv)
}

fn slowserv() -> Result {
    let servaddr = servaddr("usage: slowserv [ADDR:PORT]")?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&listenfd, ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    listening(&listenfd)?;
    let (mut input, mut line) = (stdin().lock(), Vec::new());
    note("Enter accepts a client");
    while readline(&mut input, &mut line).map_err(err_sys("fgets error"))? > 0 {
        match accept(&listenfd) {
            Ok((connfd, cliaddr)) => {
                say(format_args!("accept: a connection from {cliaddr}"))?;
                probe(&connfd)?;
            }
            Err(errno @ (Errno::ECONNABORTED | Errno::EPROTO)) => {
                say(format_args!("accept: {}", shown(Err(errno))))?;
            }
            Err(errno) => return Err(err_sys("accept error")(errno)),
        }
    }
    Ok(())
}

/// Shows what each call returns on such a connection. (The read comes first, because it waits for
/// RST or FIN.)
fn probe(connfd: &OwnedFd) -> Result {
    let mut octets = [0; 100];
    let n = read(connfd.as_fd(), &mut octets);
    say(format_args!("first read: {}", shown(n.map(|n| format!("{n} octets")))))?;
    let peer = getpeername::<SockaddrStorage>(connfd.as_raw_fd());
    say(format_args!("getpeername: {}", shown(peer.map(|peer| peer.to_string()))))?;
    let n = read(connfd.as_fd(), &mut octets);
    say(format_args!("second read: {}", shown(n.map(|n| format!("{n} octets")))))?;
    let n = write(connfd, b"hello\n");
    say(format_args!("write: {}", shown(n.map(|n| format!("{n} octets")))))
}

fn shown(result: nix::Result<String>) -> String {
    result.unwrap_or_else(|errno| format!("{errno:?} ({})", errno.desc()))
}
