//! The UNIX Client-Server Program Interface: the client's address from tcpserver.
//!
//! tcpserver passes the client at descriptors 0 (to read) and 1 (to write), and its address in the
//! variables TCPREMOTEIP and TCPREMOTEPORT. A program in between, such as recordio or a TLS proxy,
//! replaces the descriptors by pipes or another socket, and keeps the variables, which are then the
//! only source of the address.
//!
//! The environment is as trusted as the command line, because the starter of this process sets
//! both, and a client on the network cannot. The variables count only with `--inetd` and one client
//! on standard input, never for a server with a listener of its own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use log::warn;
use nix::net::if_::if_nametoindex;

use crate::net::peer::Peer;
use crate::text::printable;

/// The client in the environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ucspi {
    /// The starter follows UCSPI, so that output goes to descriptor 1.
    pub(crate) is_present: bool,
    /// The client's address, if it is given.
    pub(crate) peer: Option<Peer>,
}

impl Ucspi {
    /// Reads the environment.
    pub(crate) fn from_environment() -> Ucspi {
        Ucspi::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the variables. `PROTO` names the transport; with another than TCP (UNIX) the address
    /// is ignored, because it was inherited from elsewhere.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Ucspi {
        // Other programs use this variable too, so only the values of UCSPI count.
        let proto = variable("PROTO").filter(|p| ["TCP", "TCP6", "SSL", "UNIX"].contains(&&**p));
        let is_tcp = proto.as_deref().is_none_or(|proto| proto != "UNIX");
        let either = |names: [&str; 2]| {
            names.into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let ip = either(["TCPREMOTEIP", "TCP6REMOTEIP"]).filter(|_| is_tcp);
        let port = either(["TCPREMOTEPORT", "TCP6REMOTEPORT"]);
        let peer = ip.as_deref().and_then(|ip| {
            let address = address(ip, port.as_deref());
            if address.is_none() {
                let (ip, port) = (printable(ip.as_bytes()), port.unwrap_or_default());
                let port = printable(port.as_bytes());
                warn!("TCPREMOTEIP '{ip}', TCPREMOTEPORT '{port}': no address: ignored");
            }
            address.map(Peer::Ip)
        });
        Ucspi { is_present: proto.is_some() || ip.is_some(), peer }
    }
}

/// Reads an address, with port 0 if none is given; a mapped IPv4 address as plain IPv4.
fn address(ip: &str, port: Option<&str>) -> Option<SocketAddr> {
    let port: u16 = port.map_or(Ok(0), str::parse).ok()?;
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if let Some((link_local, interface)) = bare.split_once('%') {
        let ip: Ipv6Addr = link_local.parse().ok()?;
        let scope = interface.parse().ok().or_else(|| if_nametoindex(interface).ok())?;
        return Some(std::net::SocketAddrV6::new(ip, port, 0, scope).into());
    }
    let ip: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Ucspi {
        Ucspi::read(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn peer(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).peer.map(|peer| peer.to_string())
    }

    #[test]
    fn the_client_has_the_address_of_the_variables() {
        let named =
            |ip, port| peer(&[("PROTO", "TCP"), ("TCPREMOTEIP", ip), ("TCPREMOTEPORT", port)]);
        assert_eq!(named("192.0.2.1", "4711").as_deref(), Some("192.0.2.1:4711"));
        assert_eq!(named("::ffff:192.0.2.1", "4711").as_deref(), Some("192.0.2.1:4711"));
        assert_eq!(named("2001:db8::1", "25").as_deref(), Some("[2001:db8::1]:25"));
        assert_eq!(named("[2001:db8::1]", "25").as_deref(), Some("[2001:db8::1]:25"));
        assert_eq!(named("fe80::1%lo", "25").as_deref(), Some("[fe80::1%1]:25"));
        assert_eq!(named("fe80::1%7", "25").as_deref(), Some("[fe80::1%7]:25"));
        let six = [("PROTO", "TCP6"), ("TCP6REMOTEIP", "2001:db8::1"), ("TCP6REMOTEPORT", "25")];
        assert_eq!(peer(&six).as_deref(), Some("[2001:db8::1]:25"));
        assert_eq!(peer(&[("TCPREMOTEIP", "192.0.2.1")]).as_deref(), Some("192.0.2.1:0"));
    }

    #[test]
    fn malformed_variables_are_ignored() {
        for (ip, port) in [
            ("192.0.2", "25"),
            ("host.test", "25"),
            ("192.0.2.1", "smtp"),
            ("192.0.2.1", "65536"),
            ("192.0.2.1", "-1"),
            ("192.0.2.1\n", "25"),
            ("fe80::1%no-such-interface", "25"),
            ("192.0.2.1%lo", "25"),
        ] {
            let found = read(&[("TCPREMOTEIP", ip), ("TCPREMOTEPORT", port)]);
            assert_eq!(found, Ucspi { is_present: true, peer: None }, "{ip} {port}");
        }
        assert_eq!(read(&[]), Ucspi::default());
        assert_eq!(read(&[("PROTO", ""), ("TCPREMOTEIP", "")]), Ucspi::default());
    }

    #[test]
    fn variables_of_another_transport_are_ignored() {
        let found = read(&[("PROTO", "UNIX"), ("TCPREMOTEIP", "127.0.0.1")]);
        assert_eq!(found, Ucspi { is_present: true, peer: None });
    }
}
