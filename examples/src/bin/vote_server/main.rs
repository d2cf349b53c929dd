//! vote_server: the French slides' exercise "Programmer une application de vote client-serveur".
//!
//! Run: a folder with two files, `candidates` (a name a line) and `voters` (`name:secret` a line),
//! then `vote_server FOLDER`, `vote_client 127.0.0.1 candidates`,
//! `echo SECRET | vote_client 127.0.0.1 vote NAME CANDIDATE`, `vote_client 127.0.0.1 result`.
//! You see a child for each client, and the votes in `FOLDER/ledger`: kill the server with SIGKILL
//! when you like, start it again, and no vote that was acknowledged is missing or counted twice.
//!
//! A voter is a name and a secret. With the name alone another user could use up the voter's one
//! vote. This is not a secret ballot: the ledger names voter and candidate, so that a second vote
//! can be refused. Secrets cross the network in the clear: keep it on loopback, or in a tunnel.
//!
//! The protocol has lines of at most 512 bytes, ended by LF or CRLF. Answers end with CRLF:
//!
//! ```text
//! server  +OK vote, 3 voters
//! client  CANDIDATES
//! server  +OK 2 candidates          and a name a line, and a line with a dot alone
//! client  VOTE ada s3cret Blanc     voter, secret; the rest of the line is the candidate
//! server  +OK counted               it is on disk
//! client  VOTE ada s3cret Noir
//! server  -ERR voted already
//! client  RESULT
//! server  +OK 1 of 3 voted          and `votes candidate` lines, and a dot
//! client  QUIT
//! server  +OK bye                   and the end of the connection
//! ```
//!
//! Other refusals: `-ERR no such voter, or another secret` (the third one ends the connection),
//! `-ERR no such candidate`, `-ERR not counted: REASON`, `-ERR unknown command`,
//! `-ERR line too long`, `-ERR silent for too long`, `-ERR too many clients` (these three end the
//! connection). A voter whose connection ends without an answer votes again: `+OK counted` or
//! `-ERR voted already`, it is one vote.
//!
//! SIGTERM stops listening; clients have five seconds to finish. Exit status: 0, 1 when the server
//! cannot start or go on, 2 for bad usage.

mod children;
mod election;
mod ledger;
mod roll;
mod session;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{ExitCode, exit};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use unp::{
    Fork, LISTENQ, Restart, Result, SERV_PORT, SIG_IGN, accept, err_quit, err_sys, family, fork,
    listening, signal,
};

use children::Children;
use election::Election;

/// Most children at a time.
const MAX_CLIENTS: usize = 256;
/// Time for the children to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    unp::main(vote_server)
}

fn vote_server() -> Result {
    let (servaddr, folder) = arguments()?;
    // Blocked first, because they are read from the descriptor only.
    let mask = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT]);
    mask.thread_block().map_err(err_sys("sigprocmask error"))?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&mask, flags).map_err(err_sys("signalfd error"))?;
    // With SIGXFSZ ignored, a ledger over `ulimit -f` is an error of write(2).
    signal(Signal::SIGXFSZ, SIG_IGN, Restart::No).map_err(err_sys("signal error"))?;
    let election = Election::open(folder.as_ref()).map_err(err_quit)?;
    let listenfd = tcp_listen(servaddr)?;
    listening(&listenfd)?;
    serve(listenfd, &signals, election)
}

fn arguments() -> Result<(SocketAddr, String)> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.pop().filter(|folder| !folder.starts_with('-'));
    let address = match arguments.as_slice() {
        [] => Some(([127, 0, 0, 1], SERV_PORT).into()),
        [address] => address.parse().ok(),
        _ => None,
    };
    address.zip(folder).ok_or_else(|| unp::err_usage("usage: vote_server [ADDR:PORT] FOLDER"))
}

/// socket, bind, listen. SO_REUSEADDR, so that a killed server can be started again while its
/// connections are in TIME_WAIT.
fn tcp_listen(servaddr: SocketAddr) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listenfd = socket(family(&servaddr), SockType::Stream, flags, None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&listenfd, sockopt::ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    Ok(listenfd)
}

/// The slide's loop, until SIGTERM.
fn serve(listenfd: OwnedFd, signals: &SignalFd, election: Election) -> Result {
    let mut children = Children::default();
    loop {
        let mut ready = [readable(&listenfd), readable(signals)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(err_sys("poll error")(errno)),
        }
        while let Ok(Some(came)) = signals.read_signal() {
            if came.ssi_signo != Signal::SIGCHLD as u32 {
                drop(listenfd); // from now on connections are refused
                return children.wait_for_all(signals, GRACE);
            }
        }
        children.collect();
        let connfd = match accept(&listenfd) {
            Ok((connfd, _cliaddr)) => TcpStream::from(connfd),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                std::thread::sleep(Duration::from_millis(100)); // until a child ends
                continue;
            }
            Err(_gone_again_or_none_there) => continue,
        };
        if children.count() >= MAX_CLIENTS {
            session::refuse(&connfd, "too many clients");
            continue;
        }
        match fork() {
            Ok(Fork::Child) => {
                drop(listenfd);
                exit(session::serve(&connfd, election));
            }
            Ok(Fork::Parent(pid)) => children.add(pid),
            Err(errno) => session::refuse(&connfd, &format!("fork: {}", errno.desc())),
        }
    }
}

fn readable(fd: &impl AsFd) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}
