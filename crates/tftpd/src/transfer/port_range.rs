//! A transfer's own port.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use sys::errqueue::keep_errors;

/// `A:B`: the local ports of transfers, for a firewall that lets these pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<PortRange, &'static str> {
        let numbers =
            text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match numbers {
            Some((first, last)) if 1 <= first && first <= last => Ok(PortRange { first, last }),
            _ => Err("not A:B, two ports from 1 to 65535"),
        }
    }
}

impl PortRange {
    /// Returns each port once, beginning with one that depends on `seed`.
    fn each(self, seed: u64) -> impl Iterator<Item = u16> {
        let count = u64::from(self.last - self.first) + 1;
        let port = move |n: u64| self.first + u16::try_from(n % count).unwrap_or_default();
        (0..count).map(move |n| port(seed % count + n))
    }

    /// Returns whether no port is free at the local address.
    #[must_use]
    pub fn is_used_up(self, local: SocketAddr) -> bool {
        fresh_socket(local, Some(self)).err() == Some(Errno::EADDRINUSE)
    }
}

/// Creates a transfer's socket: a fresh port at the address that received the request (RFC 1350
/// §4), one of `ports` or any free one. Sets IP_RECVERR, so that a closed port of the peer is an
/// error at once, and SO_TIMESTAMPNS for the arrival time of the peer's packets.
///
/// # Errors
/// EADDRINUSE if all of `ports` are taken, or another errno of socket(2) and bind(2).
pub fn fresh_socket(local: SocketAddr, ports: Option<PortRange>) -> nix::Result<UdpSocket> {
    let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
    let bind_to = |port| {
        let mut local = local;
        local.set_port(port);
        bind(fd.as_raw_fd(), &SockaddrStorage::from(local))
    };
    match ports {
        None => bind_to(0)?,
        Some(ports) => {
            let mut tried = ports.each(seed()).map(bind_to);
            let bound = tried.find(|bound| *bound != Err(Errno::EADDRINUSE));
            bound.unwrap_or(Err(Errno::EADDRINUSE))?;
        }
    }
    keep_errors(&fd, local.is_ipv6())?;
    Ok(UdpSocket::from(fd))
}

/// Returns a number that differs between transfers, because each is a process of its own. Otherwise
/// a late packet could reach the next transfer at the same port. Process ids are consecutive, so
/// they are spread by Fibonacci hashing (2^64 / golden ratio).
fn seed() -> u64 {
    u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_ports_in_ascending_order() {
        assert_eq!("69:70".parse(), Ok(PortRange { first: 69, last: 70 }));
        assert_eq!("5:5".parse(), Ok(PortRange { first: 5, last: 5 }));
        for wrong in ["", "5", "5:", ":5", "6:5", "0:5", "5:65536", "a:b", "5-6", "-1:5"] {
            assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_port_of_the_range_is_tried() {
        let ports = PortRange { first: 7, last: 10 };
        assert_eq!(ports.each(0).collect::<Vec<_>>(), [7, 8, 9, 10]);
        assert_eq!(ports.each(6).collect::<Vec<_>>(), [9, 10, 7, 8]);
        let all = PortRange { first: 1, last: 65_535 };
        assert_eq!(all.each(u64::MAX).count(), 65_535);
    }

    #[test]
    fn a_taken_port_is_skipped_and_a_full_range_is_an_error() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ports = PortRange { first: taken.port(), last: taken.port() };
        let any = "127.0.0.1:0".parse().unwrap();
        let held = fresh_socket(any, Some(ports)).unwrap();
        assert_eq!(held.local_addr().unwrap(), taken);
        assert_eq!(fresh_socket(any, Some(ports)).unwrap_err(), Errno::EADDRINUSE);
        assert!(ports.is_used_up(any));
    }
}
