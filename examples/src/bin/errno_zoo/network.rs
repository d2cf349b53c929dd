//! Networks and hosts that are down or unreachable, in the program's own namespace.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, getpeername,
    getsockname, send, sendto, setsockopt, socket, sockopt,
};

use crate::icmp;
use crate::tools::{Attempt, any_port, at, connection, receive, tcp, udp};
use unp::netlink::{LOOPBACK, add_address, add_cable, bring_up, destroy_connection};

/// A packet socket names the interface itself and needs no route. An IP socket would find no route:
/// ENETUNREACH.
pub fn enetdown() -> Attempt {
    let sockfd = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    add_cable("idle0", "idle1")?; // both ends are down
    let idle = link_address("idle0")?;
    Ok(sendto(sockfd.as_raw_fd(), b"hello", &idle, MsgFlags::empty()).map(drop))
}

fn link_address(name: &str) -> nix::Result<LinkAddr> {
    let mut interfaces = getifaddrs()?.filter(|one| one.interface_name == name);
    interfaces.find_map(|one| one.address?.as_link_addr().copied()).ok_or(Errno::ENODEV)
}

/// 198.51.100.0/24 is for documentation (RFC 5737); the namespace has no route to it either.
pub fn enetunreach() -> Attempt {
    let sockfd = tcp()?;
    Ok(connect(sockfd.as_raw_fd(), &at([198, 51, 100, 1], 9)))
}

/// A virtual cable: one end has an address and a network, the other only receives. The ARP requests
/// for 192.0.2.9 are not answered.
pub fn ehostunreach() -> Attempt {
    add_cable("near", "far")?;
    shorten_arp_timeout("near");
    for (name, address) in [("near", Some([192, 0, 2, 1])), ("far", None)] {
        let interface = if_nametoindex(name)?;
        if let Some(address) = address {
            add_address(interface, address.into(), 24)?;
        }
        bring_up(interface, true)?;
    }
    let sockfd = tcp()?;
    Ok(connect(sockfd.as_raw_fd(), &at([192, 0, 2, 9], 9)))
}

/// Sends three ARP requests in 0.3 s and not in three. If /proc/sys is not writable it takes
/// longer.
fn shorten_arp_timeout(interface: &str) {
    let file = format!("/proc/sys/net/ipv4/neigh/{interface}/retrans_time_ms");
    let _ = std::fs::write(file, "100"); // best effort
}

/// Destination host unknown, the only cause of EHOSTDOWN on Linux.
pub fn ehostdown() -> Attempt {
    unreachable(7)
}

/// Codes 0 to 15: network, host, protocol, port, fragmentation needed, … (RFC 792, 1122, 1812).
pub fn enetreset_by_icmp() -> Attempt {
    let mut last = Ok(());
    for code in 0..16 {
        last = unreachable(code)?;
        if last == Err(Errno::ENETRESET) {
            break;
        }
    }
    Ok(last)
}

/// A datagram to a silent host, a router's ICMP message about it, and recv(2)'s error.
fn unreachable(code: u8) -> Attempt {
    let (silent, sockfd) = (udp()?, udp()?);
    bind(silent.as_raw_fd(), &any_port())?;
    let destination: SockaddrIn = getsockname(silent.as_raw_fd())?;
    // Without this temporary errors such as "network unreachable" are not reported.
    setsockopt(&sockfd, sockopt::Ipv4RecvErr, &true)?;
    connect(sockfd.as_raw_fd(), &destination)?;
    send(sockfd.as_raw_fd(), b"hello", MsgFlags::empty())?;
    icmp::unreachable(code, getsockname(sockfd.as_raw_fd())?, destination)?;
    Ok(receive(&sockfd))
}

/// Loopback goes down under a connection with keepalive probes.
pub fn enetreset_by_keepalive() -> Attempt {
    let (sockfd, _connfd) = connection()?;
    keepalive(&sockfd)?;
    bring_up(LOOPBACK, false)?;
    let result = receive(&sockfd);
    bring_up(LOOPBACK, true)?;
    Ok(result)
}

/// The network goes down, the other side loses the connection (its RST is lost), and the network
/// comes back: the other host does not know the connection.
pub fn enetreset_by_reboot() -> Attempt {
    let (sockfd, _connfd) = connection()?;
    let here: SockaddrIn = getsockname(sockfd.as_raw_fd())?;
    let there: SockaddrIn = getpeername(sockfd.as_raw_fd())?;
    bring_up(LOOPBACK, false)?;
    let crashed = destroy_connection(there, here);
    bring_up(LOOPBACK, true)?;
    crashed?;
    send(sockfd.as_raw_fd(), b"are you there?", MsgFlags::MSG_NOSIGNAL)?;
    Ok(receive(&sockfd))
}

/// Sends a probe after a second of silence, and a second probe.
fn keepalive(sockfd: &OwnedFd) -> nix::Result<()> {
    setsockopt(sockfd, sockopt::KeepAlive, &true)?;
    setsockopt(sockfd, sockopt::TcpKeepIdle, &1)?;
    setsockopt(sockfd, sockopt::TcpKeepInterval, &1)?;
    setsockopt(sockfd, sockopt::TcpKeepCount, &1)
}
