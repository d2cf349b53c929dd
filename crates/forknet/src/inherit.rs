//! Standard input as a superserver hands it over: a client, or a socket to wait on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{SockType, SockaddrStorage, getpeername, getsockopt, sockopt};

use crate::accept::Peer;
use crate::error::{Error, Result};
use crate::listen::Listener;
use crate::rw::Connection;
use crate::scoreboard::Progress;

/// What standard input is.
#[derive(Debug)]
pub(crate) enum StandardInput {
    /// inetd's `nowait`: the client itself.
    Client(Connection, Peer),
    /// inetd's `wait`: the listening socket, or a UDP socket with a datagram waiting.
    Listener(Listener),
}

/// Looks at descriptor 0.
pub(crate) fn standard_input(idle: Duration) -> Result<StandardInput> {
    let stdin = io::stdin();
    let input = duplicate(stdin.as_fd())?;
    match getsockopt(&input, sockopt::SockType) {
        Err(Errno::ENOTSOCK) => {
            let output = duplicate(io::stdout().as_fd())?;
            let conn = Connection::pipe(input, output, idle, Progress::unshared());
            return Ok(StandardInput::Client(conn, Peer::Pipe));
        }
        Err(errno) => return Err(Error::os("standard input")(errno)),
        Ok(SockType::Datagram) => return Listener::inherited(input).map(StandardInput::Listener),
        Ok(_) => {}
    }
    if getsockopt(&input, sockopt::AcceptConn) == Ok(true) {
        return Listener::inherited(input).map(StandardInput::Listener);
    }
    // A client that has reset already has no name any more; the first read will tell.
    let peer =
        getpeername::<SockaddrStorage>(input.as_raw_fd()).map_or(Peer::Unix, |n| Peer::of(&n));
    let conn = Connection::socket(input, idle, Progress::unshared());
    Ok(StandardInput::Client(conn, peer))
}

fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().map_err(Error::io("standard input"))
}
