//! oob_server: data out of band, the Spanish slide "Sockets tipo stream": "Permite el envío de
//! mensajes fuera de banda (out of band)".
//!
//! Run: `oob_server --busy`, then `oob_client 127.0.0.1`, and type `123`, `!4`, `567`, Ctrl-D.
//! You see the urgent 4 first, though 123 was sent before it: SIGURG interrupts a server that is
//! busy with something else, and recv with MSG_OOB returns the one urgent byte before all data that
//! waits. A read ends at the mark, the place where the byte was (sockatmark); the data after it was
//! sent later. Without `--busy` the server reads data as it arrives. With `--inline` (SO_OOBINLINE)
//! the byte stays in its place, at the mark.
//! What is wrong with it, in TCP itself: there is one urgent byte, not a second channel. Of `!abc`
//! only the c is urgent, and of two unread urgent bytes the first becomes ordinary. RFC 6093: "new
//! applications SHOULD NOT employ the TCP urgent mechanism".

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, bind, listen, recv, setsockopt, socket,
    sockopt::{OobInline, ReuseAddr},
};
use nix::sys::time::TimeSpec;
use nix::unistd::{getpid, read};
use unp::{
    LISTENQ, MAXLINE, Restart, Result, SET_A_FLAG, accept, err_sys, family, listening, say,
    servaddr_and, set_owner, signal, sockatmark, take,
};

const USAGE: &str = "usage: oob_server [--busy] [--inline] [ADDR:PORT]";

/// Longest time for which the busy server is busy.
const BUSY: TimeSpec = TimeSpec::new(10, 0);

fn main() -> ExitCode {
    unp::main(oob_server)
}

fn oob_server() -> Result {
    let (servaddr, [busy, inline]) = servaddr_and(["--busy", "--inline"], USAGE)?;
    let listenfd = socket(family(&servaddr), SockType::Stream, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    setsockopt(&listenfd, ReuseAddr, &true).map_err(err_sys("setsockopt error"))?;
    bind(listenfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listen(&listenfd, LISTENQ).map_err(err_sys("listen error"))?;
    signal(Signal::SIGURG, SET_A_FLAG, Restart::No).map_err(err_sys("signal error"))?;
    // SIGURG is unblocked only during the wait, so that none is lost between a test and a wait:
    // tcpserv06.
    let urg: SigSet = [Signal::SIGURG].into_iter().collect();
    urg.thread_block().map_err(err_sys("sigprocmask error"))?;
    listening(&listenfd)?;
    loop {
        let (connfd, _cliaddr) = accept(&listenfd).map_err(err_sys("accept error"))?;
        setsockopt(&connfd, OobInline, &inline).map_err(err_sys("setsockopt error"))?;
        set_owner(&connfd, getpid()).map_err(err_sys("fcntl error"))?;
        unp::complain(serve(&connfd, busy, inline));
    }
}

fn serve(connfd: &OwnedFd, busy: bool, inline: bool) -> Result {
    take(Signal::SIGURG); // an earlier client's
    // A SIGURG before the socket had an owner was not delivered, so the first check is for the byte
    // itself.
    let mut announced = true;
    say(if busy { "a client; busy until SIGURG comes" } else { "a client" })?;
    if busy {
        wait(connfd, PollFlags::POLLPRI, Some(BUSY))?;
    }
    loop {
        let urgent = if announced { PollFlags::POLLPRI } else { PollFlags::empty() };
        let ready = wait(connfd, PollFlags::POLLIN | urgent, None)?;
        if take(Signal::SIGURG) {
            say("SIGURG")?;
            announced = true;
        }
        if announced && !inline {
            announced = fetch(connfd)?;
        }
        if ready.contains(PollFlags::POLLIN) && !read_on(connfd)? {
            return Ok(());
        }
    }
}

/// Waits until the socket is ready for one of `events`, SIGURG arrives, or the timeout expires.
/// Returns the events it is ready for.
fn wait(connfd: &OwnedFd, events: PollFlags, timeout: Option<TimeSpec>) -> Result<PollFlags> {
    let mut fds = [PollFd::new(connfd.as_fd(), events)];
    let now = Some(TimeSpec::new(0, 0)); // because a ppoll that finds an event lets no signal in
    for (fds, timeout) in [(&mut fds[..], timeout), (&mut [], now)] {
        match ppoll(fds, timeout, Some(SigSet::empty())) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(err_sys("ppoll error")(errno)),
        }
    }
    Ok(fds.iter().filter_map(PollFd::revents).fold(PollFlags::empty(), PollFlags::union))
}

/// Reads the urgent byte before all data that waits. Returns true if it is announced and has not
/// arrived yet (SIGURG reports the announcement, which overtakes even a full window, if not by more
/// than 64 KiB).
fn fetch(connfd: &OwnedFd) -> Result<bool> {
    let mut octet = [0];
    match recv(connfd.as_raw_fd(), &mut octet, MsgFlags::MSG_OOB) {
        Ok(0) => Ok(false),
        Ok(_) => say(format_args!("urgent: {}", octet.escape_ascii())).map(|()| false),
        Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::EINVAL) => Ok(false), // there is none, or it has been fetched
        Err(errno) => Err(err_sys("recv error")(errno)),
    }
}

/// Reads once. Returns false at the end of file.
fn read_on(connfd: &OwnedFd) -> Result<bool> {
    if sockatmark(connfd).map_err(err_sys("sockatmark error"))? {
        say("at the mark")?;
    }
    let mut octets = [0; MAXLINE];
    let n = read(connfd, &mut octets).map_err(err_sys("read error"))?;
    match octets.get(..n) {
        None | Some([]) => say("end of file").map(|()| false),
        Some(octets) => say(format_args!("read: {}", octets.escape_ascii())).map(|()| true),
    }
}
