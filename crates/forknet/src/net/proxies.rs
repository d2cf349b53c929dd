//! The proxies whose word about a client's address is taken (`--proxy-from`).

use std::str::FromStr;

use crate::net::network::Network;
use crate::net::peer::Peer;

/// What stands for the clients of UNIX-domain sockets.
const UNIX: &str = "unix";

/// One value of `--proxy-from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Network(Network),
    /// `unix`: every client of a UNIX-domain socket.
    Unix,
}

/// Where proxies connect from; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Origin>);

/// A value of `--proxy-from` that is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotAnOrigin;

impl std::fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a network such as 192.0.2.0/24 or 2001:db8::/32, not an address, not unix")
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Origin, NotAnOrigin> {
        match text {
            UNIX => Ok(Origin::Unix),
            _ => Network::parse(text).map(Origin::Network).ok_or(NotAnOrigin),
        }
    }
}

impl Proxies {
    /// Adds a value of `--proxy-from`.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), NotAnOrigin> {
        self.0.push(text.parse()?);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the peer of a connection: [`Peer::Proxy`] where a proxy has made it.
    pub(crate) fn classify(&self, peer: Peer) -> Peer {
        let is_proxy = self.0.iter().any(|origin| match (origin, peer) {
            (Origin::Network(network), Peer::Ip(address)) => network.contains(address.ip()),
            (Origin::Unix, Peer::Unix) => true,
            _ => false,
        });
        match peer {
            Peer::Ip(address) if is_proxy => Peer::Proxy(Some(address)),
            Peer::Unix if is_proxy => Peer::Proxy(None),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_from_one_of_them_is_a_proxys() {
        let mut proxies = Proxies::default();
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!(proxies.classify(Peer::Ip(ip("10.0.0.1:5"))), Peer::Ip(ip("10.0.0.1:5")));
        ["10.0.0.0/24", "2001:db8::7"].iter().for_each(|text| proxies.add(text).unwrap());
        for text in ["10.0.0.255:5", "[2001:db8::7]:9"] {
            assert_eq!(proxies.classify(Peer::Ip(ip(text))), Peer::Proxy(Some(ip(text))));
        }
        for peer in ["10.0.1.0:5", "[2001:db8::8]:9", "127.0.0.1:5"].map(|it| Peer::Ip(ip(it))) {
            assert_eq!(proxies.classify(peer), peer);
        }
        assert_eq!(proxies.classify(Peer::Unix), Peer::Unix);
        proxies.add("unix").unwrap();
        assert_eq!(proxies.classify(Peer::Unix), Peer::Proxy(None));
        assert_eq!(proxies.classify(Peer::Pipe), Peer::Pipe);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "haproxy.test", "10.0.0.0/33", "Unix", "10.0.0.1:25"] {
            assert!(Proxies::default().add(text).is_err(), "{text}");
        }
    }
}
