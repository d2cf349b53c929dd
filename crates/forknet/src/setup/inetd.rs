//! Standard input from a superserver: a client, or a socket to wait on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockType, SockaddrStorage, getpeername, getsockopt, sockopt};
use sys::fd::{self, same_file};
use sys::socket::to_std;

use crate::error::{Error, Result};
use crate::net::connection::Connection;
use crate::net::counters::Counters;
use crate::net::deadlines::Timeouts;
use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::setup::ucspi::Ucspi;

/// The kind of standard input.
#[derive(Debug)]
pub(crate) enum StandardInput {
    /// inetd's `nowait`, tcpserver: the client itself.
    Client(Connection, Peer),
    /// inetd's `wait`: the listening socket.
    Listener(Listener),
    /// inetd's `wait` for UDP: the bound socket, with a datagram waiting.
    Datagrams(Listener),
}

/// Determines the kind of descriptor 0.
pub(crate) fn standard_input(timeouts: Timeouts, ucspi: &Ucspi) -> Result<StandardInput> {
    let input = duplicate(io::stdin())?;
    let kind = match getsockopt(&input, sockopt::SockType) {
        Err(Errno::ENOTSOCK) => {
            return two_descriptors(input, timeouts, ucspi.peer.unwrap_or(Peer::Pipe));
        }
        kind => kind.map_err(Error::os("standard input"))?,
    };
    if kind == SockType::Datagram {
        close_copies(&input)?;
        return Listener::inherited(input, kind).map(StandardInput::Datagrams);
    }
    if getsockopt(&input, sockopt::AcceptConn).map_err(Error::os("standard input"))? {
        close_copies(&input)?;
        return Listener::inherited(input, kind).map(StandardInput::Listener);
    }
    // A client that has reset has no name; the first read returns the error.
    let name = || getpeername::<SockaddrStorage>(input.as_raw_fd());
    let peer = ucspi.peer.unwrap_or_else(|| Peer::from(name().ok().as_ref().and_then(to_std)));
    if ucspi.is_present && !same_file(&input, io::stdout()) {
        return two_descriptors(input, timeouts, peer);
    }
    close_copies(&input)?;
    let conn = Connection::socket(input, timeouts, Counters::unshared());
    Ok(StandardInput::Client(conn, peer))
}

/// Uses pipes, or two sockets from a UCSPI program after tcpserver: reads from descriptor 0 and
/// writes to descriptor 1.
fn two_descriptors(input: OwnedFd, timeouts: Timeouts, peer: Peer) -> Result<StandardInput> {
    let output = duplicate(io::stdout())?;
    let conn = Connection::pipe(input, output, timeouts, Counters::unshared());
    Ok(StandardInput::Client(conn, peer))
}

/// Replaces the copies of the socket that inetd leaves at descriptors 0, 1 and 2, so that no child
/// keeps the listening socket, and only the session writes to a client.
fn close_copies(input: &OwnedFd) -> Result<()> {
    let copies = [true, same_file(input, io::stdout()), same_file(input, io::stderr())];
    let null = fd::null().map_err(Error::os("/dev/null"))?;
    fd::replace_standard(&null, copies).map_err(Error::os("standard input: dup2"))
}

fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().map_err(Error::io("standard input"))
}
