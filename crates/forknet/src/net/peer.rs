//! Who is at the other end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

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

    /// Returns true when what is said to this peer cannot leave the machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }
}

/// The address that accept(2) gave, where it is one of the Internet's.
impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Peer {
        address.map_or(Peer::Unix, Peer::Ip)
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::SockaddrStorage;

    #[test]
    fn a_mapped_address_is_plain_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.2]:25".parse().unwrap();
        let peer = Peer::from(sys::socket::to_std(&SockaddrStorage::from(mapped)));
        assert_eq!(peer.to_string(), "127.0.0.2:25");
        assert!(peer.is_loopback());
    }
}
