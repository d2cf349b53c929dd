//! abortcli: a client that aborts, slide "Connection Abort Before accept Returns".
//!
//! Run: `slowserv`, then `abortcli 127.0.0.1`, then press Enter where slowserv runs.
//! You see nothing here: connect succeeds (the server's kernel answers, not the server), and close
//! sends RST in place of FIN, because SO_LINGER is on with a time of zero. slowserv shows what
//! accept does then. With `--fin` the client closes as others do, and the connection in the queue
//! is a good one. With `--wait` it closes when Enter is pressed, or its input ends; look at
//! `ss -tan` before and after.
//! Wrong on purpose: such a close discards data that was sent and not yet acknowledged.

use std::io::stdin;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt::Linger,
};
use nix::unistd::close;
use unp::{Result, err_sys, family, note, peeraddr_and, readline};

const USAGE: &str = "usage: abortcli [--fin] [--wait] ADDR[:PORT]";

fn main() -> ExitCode {
    unp::main(abortcli)
}

fn abortcli() -> Result {
    let (servaddr, [fin, wait]) = peeraddr_and(["--fin", "--wait"], USAGE)?;
    let sockfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    connect(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr))
        .map_err(err_sys("connect error"))?;
    if wait {
        note("connected; Enter closes");
        readline(&mut stdin().lock(), &mut Vec::new()).map_err(err_sys("fgets error"))?;
    }
    if !fin {
        let ling = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&sockfd, Linger, &ling).map_err(err_sys("setsockopt error"))?;
    }
    close(sockfd).map_err(err_sys("close error")) // RST, or FIN
}
