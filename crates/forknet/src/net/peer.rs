//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client on the network; an IPv4 address is never shown as `::ffff:1.2.3.4`.
    Ip(SocketAddr),
    /// A client whose address a proxy has told ([`crate::Proxies`]).
    Told(SocketAddr),
    /// A proxy that has told no client's address, by its own: one that looks whether the server lives, or
    /// that does not know its client. `None` over a UNIX-domain socket.
    Proxy(Option<SocketAddr>),
    /// A client of a UNIX-domain socket.
    Unix,
    /// Standard input and output that are no socket, such as a terminal or pipes.
    Pipe,
}

impl Peer {
    /// Reads what [`Peer::record`] has made.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Peer> {
        let text = std::str::from_utf8(text).ok()?;
        match text.split_once(' ') {
            Some(("told", address)) => address.parse().ok().map(Peer::Told),
            Some(("proxy", "unix")) => Some(Peer::Proxy(None)),
            Some(("proxy", address)) => address.parse().ok().map(|it| Peer::Proxy(Some(it))),
            Some(_) => None,
            None => match text {
                "unix" => Some(Peer::Unix),
                "stdin" => Some(Peer::Pipe),
                address => address.parse().ok().map(Peer::Ip),
            },
        }
    }

    /// Returns what another process of the server reads with [`Peer::parse`]. Unlike what is displayed it
    /// says whether there is a proxy.
    #[must_use]
    pub fn record(&self) -> String {
        match self {
            Peer::Told(_) => format!("told {self}"),
            Peer::Proxy(_) => format!("proxy {self}"),
            Peer::Ip(_) | Peer::Unix | Peer::Pipe => self.to_string(),
        }
    }

    /// Returns the address, if it has one. That of [`Peer::Proxy`] is no client's.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(address) | Peer::Told(address) => Some(address.ip()),
            Peer::Proxy(address) => address.map(|address| address.ip()),
            Peer::Unix | Peer::Pipe => None,
        }
    }

    /// Returns true when data for this peer does not leave the machine. Never through a proxy, whatever
    /// address it tells: it may have the data from anywhere, and hand them out anywhere.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Peer::Ip(address) => address.ip().is_loopback(),
            Peer::Told(_) | Peer::Proxy(_) => false,
            Peer::Unix | Peer::Pipe => true,
        }
    }

    /// Returns true for a proxy that has told no client's address.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        matches!(self, Peer::Proxy(_))
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
            Peer::Ip(address) | Peer::Told(address) | Peer::Proxy(Some(address)) => address.fmt(f),
            Peer::Proxy(None) | Peer::Unix => f.write_str("unix"),
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

    #[test]
    fn a_client_behind_a_proxy_is_never_loopback_not_in_another_process_either() {
        let address = "127.0.0.1:25".parse().unwrap();
        for peer in [Peer::Told(address), Peer::Proxy(Some(address)), Peer::Proxy(None)] {
            assert_eq!(Peer::parse(peer.record().as_bytes()), Some(peer));
            assert!(!peer.is_loopback());
        }
        for peer in [Peer::Ip(address), Peer::Unix, Peer::Pipe] {
            assert_eq!(Peer::parse(peer.record().as_bytes()), Some(peer));
            assert!(peer.is_loopback());
        }
        assert_eq!(Peer::Told(address).to_string(), "127.0.0.1:25");
        for odd in
            ["told unix", "told", "proxy", "proxy stdin", "told told 1.2.3.4:5", " 1.2.3.4:5"]
        {
            assert_eq!(Peer::parse(odd.as_bytes()), None, "{odd}");
        }
    }
}
