//! accept, and what its errors mean.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client on the network; an IPv4 address is never shown as `::ffff:1.2.3.4`.
    Ip(SocketAddr),
    /// A client on this machine that came through a UNIX-domain socket.
    Unix,
    /// Standard input and output that are no socket: a shell, a test, a pipe.
    Pipe,
}

impl Peer {
    /// The address, where there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix | Peer::Pipe => None,
        }
    }

    /// True when what is said to this peer cannot leave the machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }

    pub(crate) fn of(name: &SockaddrStorage) -> Peer {
        to_std(name).map_or(Peer::Unix, Peer::Ip)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
            Peer::Pipe => f.write_str("stdin"),
        }
    }
}

/// nix's address as std's, a mapped IPv4 address as plain IPv4; `None` if it is none of the
/// Internet's.
pub(crate) fn to_std(name: &SockaddrStorage) -> Option<SocketAddr> {
    let address = match (name.as_sockaddr_in(), name.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::from((v4.ip(), v4.port())),
        (_, Some(v6)) => SocketAddr::V6(std::net::SocketAddrV6::new(
            v6.ip(),
            v6.port(),
            v6.flowinfo(),
            v6.scope_id(),
        )),
        _ => return None,
    };
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => Some(SocketAddr::from((v4, address.port()))),
        IpAddr::V6(_) => Some(address),
    }
}

/// A connection as it came from a listener.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) conn: OwnedFd,
    pub(crate) peer: Peer,
    /// SO_RCVTIMEO as the listener gave it on; zero where it did not.
    pub(crate) receive_limit: Duration,
    /// What the peer is called.
    pub(crate) name: Name,
    /// When it was accepted: its session's time begins then.
    pub(crate) at: Instant,
}

/// The text of a [`Peer`], without memory of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// Enough for an IPv6 address with scope and port.
    octets: [u8; 63],
    length: u8,
}

impl Name {
    pub(crate) fn of(peer: Peer) -> Name {
        let mut name = Name { octets: [0; 63], length: 0 };
        let _it_is_long_enough = write!(name, "{peer}");
        name
    }

    pub(crate) fn chars(&self) -> impl Iterator<Item = char> + '_ {
        self.octets.iter().take(self.length.into()).copied().map(char::from)
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for octet in text.bytes() {
            *self.octets.get_mut(usize::from(self.length)).ok_or(fmt::Error)? = octet;
            self.length += 1;
        }
        Ok(())
    }
}

/// accept4(2): the connected socket, closed on exec, and the peer's address from the call itself:
/// after a reset getpeername(2) would say ENOTCONN. nix's wrapper has no address to give.
pub(crate) fn accept(listener: &impl AsFd) -> nix::Result<(OwnedFd, Peer)> {
    let fd = listener.as_fd().as_raw_fd();
    let mut address = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `address` and `length` are live for the call, and `length` is the space at `address`;
    // the kernel writes no more than that.
    let connected = unsafe {
        libc::accept4(fd, address.as_mut_ptr().cast(), &raw mut length, libc::SOCK_CLOEXEC)
    };
    let connected = Errno::result(connected)?;
    // SAFETY: accept4 returned a new descriptor that nobody else owns.
    let connected = unsafe { OwnedFd::from_raw_fd(connected) };
    let length = length.min(size_of::<libc::sockaddr_storage>() as libc::socklen_t);
    // SAFETY: all of `address` is initialized (zeroed, then written by the kernel up to `length`),
    // and `length` is within it.
    let name = unsafe { SockaddrStorage::from_raw(address.as_ptr().cast(), Some(length)) };
    Ok((connected, name.as_ref().map_or(Peer::Unix, Peer::of)))
}

/// What the loop does about an error of accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is wrong with the server: go round again, as the slide's `if (errno == EINTR) continue`.
    GoRound,
    /// Descriptors or memory are used up: answer with the reserve, and rest if that fails too.
    Exhausted,
    /// The listener itself is broken.
    Fatal,
}

/// Sorts the errors of accept(2). The network errnos are those of the new connection, which Linux
/// hands over here (accept(2), "Error handling").
pub(crate) fn verdict(errno: Errno) -> Verdict {
    match errno {
        Errno::EINTR
        | Errno::EAGAIN
        | Errno::ECONNABORTED
        | Errno::EPROTO
        | Errno::ENETDOWN
        | Errno::ENOPROTOOPT
        | Errno::EHOSTDOWN
        | Errno::ENONET
        | Errno::EHOSTUNREACH
        | Errno::EOPNOTSUPP
        | Errno::ENETUNREACH
        | Errno::ETIMEDOUT
        | Errno::ECONNRESET
        | Errno::EPERM => Verdict::GoRound,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Verdict::Exhausted,
        _ => Verdict::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_of_a_peer_is_whole() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        let name = Name::of(Peer::Ip(longest.parse().unwrap()));
        assert_eq!(name.chars().collect::<String>(), longest);
        assert_eq!(Name::of(Peer::Unix).chars().collect::<String>(), "unix");
    }

    #[test]
    fn a_mapped_address_is_plain_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.2]:25".parse().unwrap();
        let peer = Peer::of(&SockaddrStorage::from(mapped));
        assert_eq!(peer.to_string(), "127.0.0.2:25");
        assert!(peer.is_loopback());
    }

    #[test]
    fn case_11_an_aborted_connection_never_ends_the_server() {
        for errno in [Errno::EINTR, Errno::ECONNABORTED, Errno::EPROTO, Errno::ENETDOWN] {
            assert_eq!(verdict(errno), Verdict::GoRound);
        }
        assert_eq!(verdict(Errno::EMFILE), Verdict::Exhausted);
        assert_eq!(verdict(Errno::EBADF), Verdict::Fatal);
    }
}
