//! A transfer's own port.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use sys::errqueue::keep_errors;

/// `A:B`: the ports that transfers may have, for a firewall that lets these pass.
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
    /// Returns each port once. The first one depends on `seed`.
    fn each(self, seed: u64) -> impl Iterator<Item = u16> {
        let count = u64::from(self.last - self.first) + 1;
        let port = move |n: u64| self.first + u16::try_from(n % count).unwrap_or_default();
        (0..count).map(move |n| port(seed % count + n))
    }

    /// Returns true when no port is left at this address of ours.
    #[must_use]
    pub fn is_used_up(self, local: SocketAddr) -> bool {
        fresh_socket(local, Some(self)).err() == Some(Errno::EADDRINUSE)
    }
}

/// Makes a transfer's own socket: a fresh port on the address that was asked (RFC 1350 §4), one of
/// `ports` or any that is free. IP_RECVERR is on, so that a closed port of the peer is an error at
/// once, and SO_TIMESTAMPNS, which tells when the peer's last packet came.
///
/// # Errors
/// EADDRINUSE when all of `ports` are taken; others as socket(2) and bind(2) say.
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

/// Returns a number that differs from transfer to transfer, because each is a process of its own:
/// otherwise a late packet would meet the next transfer at the port of the one before. Process ids
/// follow one another, so they are spread by Fibonacci hashing (2^64 / golden ratio).
fn seed() -> u64 {
    u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_ports_in_their_order() {
        assert_eq!("69:70".parse(), Ok(PortRange { first: 69, last: 70 }));
        assert_eq!("5:5".parse(), Ok(PortRange { first: 5, last: 5 }));
        for wrong in ["", "5", "5:", ":5", "6:5", "0:5", "5:65536", "a:b", "5-6", "-1:5"] {
            assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_port_has_its_turn() {
        let ports = PortRange { first: 7, last: 10 };
        assert_eq!(ports.each(0).collect::<Vec<_>>(), [7, 8, 9, 10]);
        assert_eq!(ports.each(6).collect::<Vec<_>>(), [9, 10, 7, 8]);
        let all = PortRange { first: 1, last: 65_535 };
        assert_eq!(all.each(u64::MAX).count(), 65_535);
    }

    #[test]
    fn a_taken_port_is_passed_over_and_none_left_is_an_error() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ports = PortRange { first: taken.port(), last: taken.port() };
        let any = "127.0.0.1:0".parse().unwrap();
        let held = fresh_socket(any, Some(ports)).unwrap();
        assert_eq!(held.local_addr().unwrap(), taken);
        assert_eq!(fresh_socket(any, Some(ports)).unwrap_err(), Errno::EADDRINUSE);
        assert!(ports.is_used_up(any));
    }
}
