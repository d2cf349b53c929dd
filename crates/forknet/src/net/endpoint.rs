//! Endpoints: the values of `-l`.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::error::{Error, Result, strerror};
use crate::net::resolve::resolve as look_up;
use crate::net::unix_name::UnixName;

/// One value of `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `*:PORT`: every address of the machine, IPv4 and IPv6 with one socket.
    Any(u16),
    /// `HOST:PORT` or `[V6]:PORT`.
    Inet(SocketAddr),
    /// `NAME:PORT` where the name has several addresses, as localhost often has: one socket for
    /// each.
    Name(String, Vec<SocketAddr>),
    /// `unix:PATH` or `unix:@NAME`: streams.
    Unix(UnixName),
    /// `unix-dgram:PATH` or `unix-dgram:@NAME`: datagrams.
    UnixDatagram(UnixName),
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Endpoint> {
        let bad = |why: &str| Error::Usage(why.to_owned());
        if let Some(name) = text.strip_prefix("unix:") {
            return UnixName::parse(name).map(Endpoint::Unix).map_err(|why| bad(&why));
        }
        if let Some(name) = text.strip_prefix("unix-dgram:") {
            return UnixName::parse(name).map(Endpoint::UnixDatagram).map_err(|why| bad(&why));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(bad("no port; say HOST:PORT, [V6]:PORT or *:PORT"));
        };
        let port: u16 = port.parse().map_err(|_| bad("the port is no number from 0 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match host {
            "*" => Ok(Endpoint::Any(port)),
            "" => Err(bad("no host; say *:PORT for every address")),
            _ if host.contains(':') && bracketed.is_none() => {
                Err(bad("an IPv6 address stands in brackets: [V6]:PORT"))
            }
            _ => match bracketed {
                Some(v6) => scoped(v6, port).map(Endpoint::Inet),
                None => resolve(host, port),
            }
            .map_err(|why| bad(&why)),
        }
    }
}

impl Endpoint {
    /// Returns the endpoints of its sockets: itself, or each address of a name.
    pub(crate) fn each(&self) -> Vec<Endpoint> {
        match self {
            Endpoint::Name(_, addresses) => addresses.iter().copied().map(Endpoint::Inet).collect(),
            single => vec![single.clone()],
        }
    }

    /// Returns the port, if it has one.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Endpoint::Any(port) => Some(*port),
            Endpoint::Inet(address) => Some(address.port()),
            Endpoint::Name(_, addresses) => addresses.first().map(SocketAddr::port),
            Endpoint::Unix(_) | Endpoint::UnixDatagram(_) => None,
        }
    }

    /// Returns the same host with another port.
    pub(crate) fn with_port(mut self, port: u16) -> Endpoint {
        match &mut self {
            Endpoint::Any(own) => *own = port,
            Endpoint::Inet(address) => address.set_port(port),
            Endpoint::Name(_, addresses) => addresses.iter_mut().for_each(|a| a.set_port(port)),
            Endpoint::Unix(_) | Endpoint::UnixDatagram(_) => {}
        }
        self
    }
}

/// Reads an IPv6 address in brackets; a link-local one needs its interface, `fe80::1%eth0`.
fn scoped(host: &str, port: u16) -> std::result::Result<SocketAddr, String> {
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    };
    let address = address.parse().map_err(|_| "no IPv6 address stands in the brackets")?;
    let scope = match zone.map(|zone| (zone, zone.parse())) {
        None => 0,
        Some((_, Ok(number))) => number,
        Some((name, Err(_))) => {
            let reason = |errno| match errno {
                Errno::ENODEV | Errno::ENXIO => "no such interface".to_owned(),
                errno => strerror(errno),
            };
            if_nametoindex(name).map_err(|errno| format!("interface {name}: {}", reason(errno)))?
        }
    };
    Ok(SocketAddrV6::new(address, port, 0, scope).into())
}

/// Resolves the host's name; an address needs no resolver.
fn resolve(host: &str, port: u16) -> std::result::Result<Endpoint, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Endpoint::Inet(SocketAddr::new(ip, port)));
    }
    let found = look_up(host, port).map_err(|e| e.to_string())?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.as_slice() {
        [] => Err("the host has no address".to_owned()),
        [address] => Ok(Endpoint::Inet(*address)),
        _ => Ok(Endpoint::Name(host.to_owned(), addresses)),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Any(port) => write!(f, "*:{port}"),
            Endpoint::Inet(address) => write!(f, "{address}"),
            Endpoint::Name(name, _) => write!(f, "{name}:{}", self.port().unwrap_or(0)),
            Endpoint::Unix(name) => write!(f, "unix:{name}"),
            Endpoint::UnixDatagram(name) => write!(f, "unix-dgram:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().to_string()
    }

    #[test]
    fn every_form_is_read_and_shown_again() {
        for text in [
            "*:110",
            "127.0.0.1:0",
            "[::1]:25",
            "[fe80::1%7]:25",
            "unix:/run/x.sock",
            "unix:@x",
            "unix-dgram:/run/x.sock",
        ] {
            assert_eq!(shown(text), text);
        }
        // A name to getaddrinfo(3), which needs no /etc/hosts for this one.
        assert!(shown("127.1:7").ends_with(":7"));
        assert!(shown("unix:x").starts_with("unix:/"));
    }

    #[test]
    fn an_interface_is_given_by_name_or_index() {
        let loopback = if_nametoindex("lo").unwrap();
        assert_eq!(shown("[fe80::1%lo]:25"), format!("[fe80::1%{loopback}]:25"));
    }

    #[test]
    fn a_name_with_two_addresses_has_two_endpoints() {
        let both = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
        let name = Endpoint::Name("localhost".into(), both.to_vec()).with_port(7);
        assert_eq!((name.to_string().as_str(), name.port()), ("localhost:7", Some(7)));
        let each: Vec<String> = name.each().iter().map(Endpoint::to_string).collect();
        assert_eq!(each, ["127.0.0.1:7", "[::1]:7"]);
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        for (text, why) in [
            ("110", "no port"),
            (":110", "no host"),
            ("::1:110", "brackets"),
            ("*:65536", "0 to 65535"),
            ("*:", "0 to 65535"),
            ("[::1:110", "brackets"),
            ("[localhost]:110", "no IPv6 address"),
            ("[fe80::1%no-such-if]:110", "interface no-such-if: no such interface"),
            ("127.0.0.1:echo", "0 to 65535"),
            ("unix:", "no path"),
            ("unix-dgram:@", "no name"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
