//! Datagrams without a destination, too long, or too many.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn, bind,
    connect, getsockname, send, setsockopt, socket, sockopt,
};

use crate::tools::{Attempt, any_port, at, receive, udp};
use unp::netlink::{self, LOOPBACK};

pub fn edestaddrreq() -> Attempt {
    let sockfd = udp()?;
    Ok(send(sockfd.as_raw_fd(), b"hello", MsgFlags::empty()).map(drop))
}

/// An IPv4 packet has at most 65535 bytes, 28 of them headers.
pub fn emsgsize() -> Attempt {
    let receiver = udp()?;
    bind(receiver.as_raw_fd(), &any_port())?;
    let here: SockaddrIn = getsockname(receiver.as_raw_fd())?;
    let sockfd = udp()?;
    connect(sockfd.as_raw_fd(), &here)?;
    let longest = vec![b'x'; 65535 - 28];
    send(sockfd.as_raw_fd(), &longest, MsgFlags::empty())?;
    let longer = vec![b'x'; 65535 - 28 + 1];
    Ok(send(sockfd.as_raw_fd(), &longer, MsgFlags::empty()).map(drop))
}

/// A routing socket receives a message for every new address. After more of them than its buffer
/// holds, the kernel reports the loss by ENOBUFS (netlink(7)).
pub fn enobufs() -> Attempt {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let news = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    setsockopt(&news, sockopt::RcvBuf, &2048)?;
    const IPV4_ADDRESSES: u32 = 1 << 4; // RTMGRP_IPV4_IFADDR
    bind(news.as_raw_fd(), &NetlinkAddr::new(0, IPV4_ADDRESSES))?;
    for last in 1..=100 {
        netlink::add_address(LOOPBACK, at([127, 9, 9, last], 0).ip(), 32)?;
    }
    Ok(receive(&news))
}
