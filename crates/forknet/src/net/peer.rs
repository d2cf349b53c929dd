//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client on the network; an IPv4 address is never shown as `::ffff:1.2.3.4`.
    Ip(SocketAddr),
    /// A client of a UNIX-domain socket.
    Unix,
    /// Standard input and output that are no socket, such as a terminal or pipes.
    Pipe,
}

impl Peer {
    /// Reads what is displayed of a peer.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Peer> {
        match std::str::from_utf8(text).ok()? {
            "unix" => Some(Peer::Unix),
            "stdin" => Some(Peer::Pipe),
            address => address.parse().ok().map(Peer::Ip),
        }
    }

    /// Returns the address, if it has one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix | Peer::Pipe => None,
        }
    }

    /// Returns true when data for this peer does not leave the machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }
}

/// From the address that accept(2) returned, which only Internet sockets have.
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
