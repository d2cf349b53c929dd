//! Addresses that are wrong, in use, or not this machine's.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrIn6, bind, connect, sendto};

use crate::tools::{Attempt, at, bound, listener, tcp, udp};

/// 127.255.255.255 is loopback's broadcast address, which needs SO_BROADCAST.
pub fn eacces() -> Attempt {
    let sockfd = udp()?;
    let broadcast = at([127, 255, 255, 255], 9);
    Ok(sendto(sockfd.as_raw_fd(), b"to all", &broadcast, MsgFlags::empty()).map(drop))
}

pub fn eaddrinuse() -> Attempt {
    let (_listenfd, address) = listener()?;
    let second = tcp()?;
    Ok(bind(second.as_raw_fd(), &address))
}

/// 192.0.2.0/24 is for documentation (RFC 5737), so no machine has an address in it.
pub fn eaddrnotavail() -> Attempt {
    let sockfd = tcp()?;
    Ok(bind(sockfd.as_raw_fd(), &at([192, 0, 2, 1], 0)))
}

pub fn eafnosupport() -> Attempt {
    let (sockfd, _address) = bound()?;
    let other_family = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 0, 0));
    Ok(connect(sockfd.as_raw_fd(), &other_family))
}
