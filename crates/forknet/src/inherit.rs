//! Standard input as a superserver hands it over: a client, or a socket to wait on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{SockType, SockaddrStorage, getpeername, getsockopt, sockopt};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::accept::Peer;
use crate::error::{Error, Result};
use crate::listen::Listener;
use crate::patience::Patience;
use crate::rw::Connection;
use crate::scoreboard::Progress;
use crate::ucspi::Ucspi;

/// What standard input is.
#[derive(Debug)]
pub(crate) enum StandardInput {
    /// inetd's `nowait`, tcpserver: the client itself.
    Client(Connection, Peer),
    /// inetd's `wait`: the listening socket.
    Listener(Listener),
    /// inetd's `wait` for UDP: the bound socket, with a datagram waiting.
    Datagrams(Listener),
}

/// Looks at descriptor 0.
pub(crate) fn standard_input(patience: Patience) -> Result<StandardInput> {
    let input = duplicate(io::stdin())?;
    let ucspi = Ucspi::from_environment();
    let kind = match getsockopt(&input, sockopt::SockType) {
        Err(Errno::ENOTSOCK) => {
            return two_ways(input, patience, ucspi.peer.unwrap_or(Peer::Pipe));
        }
        kind => kind.map_err(Error::os("standard input"))?,
    };
    if kind == SockType::Datagram {
        let_go_of_copies(&input)?;
        return Listener::inherited(input).map(StandardInput::Datagrams);
    }
    if getsockopt(&input, sockopt::AcceptConn) == Ok(true) {
        let_go_of_copies(&input)?;
        return Listener::inherited(input).map(StandardInput::Listener);
    }
    // A client that has reset already has no name any more; the first read will tell.
    let name = || getpeername::<SockaddrStorage>(input.as_raw_fd());
    let peer = ucspi.peer.unwrap_or_else(|| name().map_or(Peer::Unix, |n| Peer::of(&n)));
    if ucspi.is_there && !same_file(&input, io::stdout()) {
        return two_ways(input, patience, peer);
    }
    let_go_of_copies(&input)?;
    let conn = Connection::socket(input, patience, Progress::unshared());
    Ok(StandardInput::Client(conn, peer))
}

/// Pipes, or two sockets as a UCSPI program between tcpserver and us may have them: the client
/// speaks at descriptor 0 and is answered at descriptor 1.
fn two_ways(input: OwnedFd, patience: Patience, peer: Peer) -> Result<StandardInput> {
    let output = duplicate(io::stdout())?;
    let conn = Connection::pipe(input, output, patience, Progress::unshared());
    Ok(StandardInput::Client(conn, peer))
}

/// inetd leaves the socket at descriptors 0, 1 and 2. From now on `input` is the only one, so that
/// no child keeps the listening socket and nothing but the session speaks to a client.
fn let_go_of_copies(input: &OwnedFd) -> Result<()> {
    let copies = [true, same_file(input, io::stdout()), same_file(input, io::stderr())];
    to_null(copies).map_err(Error::os("standard input: /dev/null"))
}

/// Makes /dev/null of standard input, output and error, or of some of the three.
pub(crate) fn to_null([input, output, error]: [bool; 3]) -> nix::Result<()> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    null_is(&null, [input, output, error])
}

/// As [`to_null`], with /dev/null already open: in a chroot(2) there is none.
pub(crate) fn null_is(null: &OwnedFd, [input, output, error]: [bool; 3]) -> nix::Result<()> {
    if output {
        dup2_stdout(null)?;
    }
    if error {
        dup2_stderr(null)?;
    }
    if input { dup2_stdin(null) } else { Ok(()) }
}

/// True when two descriptors are of one file or socket.
pub(crate) fn same_file(a: impl AsFd, b: impl AsFd) -> bool {
    let file = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    file(a.as_fd()).is_ok_and(|a| file(b.as_fd()) == Ok(a))
}

fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().map_err(Error::io("standard input"))
}
