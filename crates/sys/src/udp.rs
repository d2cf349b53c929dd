//! recvmsg(2) and sendmsg(2) for datagrams, with both of their addresses (ip(7), IP_PKTINFO; ipv6(7)).

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, cmsg_space, connect, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use crate::socket::to_std;

/// Bytes of control messages of a datagram: both kinds of address, the time, and the size of each
/// datagram where several came together.
const CONTROL: usize = cmsg_space::<libc::in_pktinfo>()
    + cmsg_space::<libc::in6_pktinfo>()
    + cmsg_space::<TimeSpec>()
    + cmsg_space::<i32>();

/// Aligned for the length that each message begins with.
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// Asks the kernel for the local address and the arrival time of each datagram.
pub fn request_local_address_and_time(fd: &impl AsFd) -> nix::Result<()> {
    setsockopt(fd, sockopt::ReceiveTimestampns, &true)?;
    request_local_address(fd)
}

/// Asks the kernel for the local address of each datagram.
pub fn request_local_address(fd: &impl AsFd) -> nix::Result<()> {
    // A dual-stack socket sends the IPv4 message for IPv4 datagrams, the IPv6 one for others.
    let v4 = setsockopt(fd, sockopt::Ipv4PacketInfo, &true);
    let v6 = setsockopt(fd, sockopt::Ipv6RecvPacketInfo, &true);
    v4.or(v6)
}

/// A datagram in the caller's buffer.
#[derive(Debug)]
pub struct Received {
    /// Length in bytes.
    pub length: usize,
    /// Bytes of each datagram where several came together (UDP_GRO); the last may be shorter.
    pub size: usize,
    /// It was longer than the buffer.
    pub is_cut: bool,
    /// The sender; an IPv4 address is never mapped.
    pub peer: SocketAddr,
    /// The peer's address in the form of the socket: on a dual-stack socket an IPv4 address is
    /// mapped.
    pub name: SockaddrStorage,
    /// The local address that it was sent to, with port 0.
    pub local: SocketAddr,
    /// Arrival time, where it was requested.
    pub arrived: Option<SystemTime>,
}

/// recvmsg(2): returns `None` for what must not be answered: a spurious wake-up, or a datagram that
/// was sent to a broadcast or multicast address or from port 0.
pub fn receive_into(
    fd: &impl AsFd,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> nix::Result<Option<Received>> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = Control([0; CONTROL]);
    let raw = fd.as_fd().as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(raw, &mut parts, Some(&mut control.0), flags)?;
    let local = message.cmsgs()?.find_map(|c| local_address(&c)).flatten();
    // A datagram has a name and an address; the end of file of a socket that was shut down has
    // neither.
    let (Some(name), Some(local)) = (message.address, local) else { return Ok(None) };
    let arrived = message.cmsgs()?.find_map(|c| arrival(&c));
    let size = message.cmsgs()?.find_map(|c| segment(&c)).unwrap_or(message.bytes);
    let (length, is_cut) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
    let peer = to_std(&name).filter(|peer| peer.port() != 0);
    Ok(peer.map(|peer| Received { length, size, is_cut, peer, name, local, arrived }))
}

fn arrival(control: &ControlMessageOwned) -> Option<SystemTime> {
    let ControlMessageOwned::ScmTimestampns(time) = control else { return None };
    Some(UNIX_EPOCH + Duration::from(*time))
}

fn segment(control: &ControlMessageOwned) -> Option<usize> {
    let ControlMessageOwned::UdpGroSegments(size) = control else { return None };
    usize::try_from(*size).ok()
}

/// Returns the local address of an address message; `Some(None)` for a broadcast or multicast.
fn local_address(control: &ControlMessageOwned) -> Option<Option<SocketAddr>> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            let ours = match info.ipi_spec_dst.s_addr {
                // It came before IP_PKTINFO was set, as inetd's first datagram always does. Then
                // the kernel has not recorded the local address.
                0 => !ip.is_multicast() && !is_broadcast(ip),
                ours => ours == info.ipi_addr.s_addr,
            };
            Some(ours.then_some(SocketAddr::from((ip, 0))))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical();
            // The IPv4 message, which comes too, shows a broadcast; this one does not.
            let IpAddr::V6(ip) = ip else { return None };
            // A link-local address means something only together with the interface.
            let scope = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some((!ip.is_multicast()).then_some(SocketAddrV6::new(ip, 0, 0, scope).into()))
        }
        _ => None,
    }
}

/// Returns the MTU of the route to an address, in bytes of an IP packet, as the kernel knows it now (IP_MTU of ip(7), IPV6_MTU
/// of ipv6(7)).
///
/// # Errors
/// There is no route, or no socket.
pub fn route_mtu(to: SocketAddr) -> nix::Result<usize> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?; // sends nothing
    let (level, name) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let (mut mtu, mut length): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel writes a number of at most `length` bytes to `mtu`, and its length to `length`; both live longer.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut mtu).cast(), &raw mut length)
    };
    Errno::result(result)?;
    usize::try_from(mtu).map_err(|_| Errno::ERANGE)
}

/// Returns true for the broadcast address of all networks or of one that this machine is on.
fn is_broadcast(ip: Ipv4Addr) -> bool {
    let is_it = |address: SockaddrStorage| address.as_sockaddr_in().is_some_and(|a| a.ip() == ip);
    let loopback = Ipv4Addr::new(127, 255, 255, 255);
    ip.is_broadcast()
        || ip == loopback // the loopback interface reports no broadcast address, but has one
        || getifaddrs().is_ok_and(|mut all| all.any(|i| i.broadcast.is_some_and(is_it)))
}

/// Returns true for a socket of IPv6, which may have IPv4 peers too.
pub fn is_v6(fd: &impl AsFd) -> bool {
    nix::sys::socket::getsockname::<SockaddrStorage>(fd.as_fd().as_raw_fd())
        .is_ok_and(|name| name.as_sockaddr_in6().is_some())
}

/// sendmsg(2) from this local address to `name`, the peer's address in the form of this socket.
/// Never blocks.
pub fn send_from(
    fd: &impl AsFd,
    local: SocketAddr,
    name: &SockaddrStorage,
    words: &[u8],
) -> nix::Result<()> {
    let control = LocalAddr::new(local);
    let (raw, flags) = (fd.as_fd().as_raw_fd(), MsgFlags::MSG_DONTWAIT);
    sendmsg(raw, &[IoSlice::new(words)], &[control.as_control()], flags, Some(name)).map(drop)
}

/// The source address of an answer, as a control message.
#[derive(Clone, Copy, Debug)]
pub enum LocalAddr {
    /// Of IPv4.
    V4(libc::in_pktinfo),
    /// Of IPv6.
    V6(libc::in6_pktinfo),
}

impl LocalAddr {
    /// Bytes of its control message.
    pub const ROOM: usize = cmsg_space::<libc::in6_pktinfo>();

    /// Makes it from a local address; its port is ignored.
    #[must_use]
    pub fn new(local: SocketAddr) -> LocalAddr {
        match local {
            SocketAddr::V4(v4) => source_v4(*v4.ip()),
            SocketAddr::V6(v6) => source_v6(v6),
        }
    }

    /// Returns it as a control message of sendmsg(2).
    #[must_use]
    pub fn as_control(&self) -> ControlMessage<'_> {
        match self {
            LocalAddr::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            LocalAddr::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

fn source_v4(ip: Ipv4Addr) -> LocalAddr {
    let address = libc::in_addr { s_addr: u32::from(ip).to_be() };
    let any = libc::in_addr { s_addr: 0 };
    LocalAddr::V4(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: any })
}

fn source_v6(from: SocketAddrV6) -> LocalAddr {
    let address = libc::in6_addr { s6_addr: from.ip().octets() };
    LocalAddr::V6(libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: from.scope_id() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_at(ip: &str, interface: u32) -> Option<Option<SocketAddr>> {
        let ip: Ipv6Addr = ip.parse().unwrap();
        let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
        let info = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: interface };
        local_address(&ControlMessageOwned::Ipv6PacketInfo(info))
    }

    #[test]
    fn a_link_local_address_keeps_its_interface_and_others_have_none() {
        assert_eq!(asked_at("fe80::1", 4), Some(Some("[fe80::1%4]:0".parse().unwrap())));
        assert_eq!(asked_at("2001:db8::1", 4), Some(Some("[2001:db8::1]:0".parse().unwrap())));
    }

    #[test]
    fn broadcast_and_multicast_are_recognized() {
        assert_eq!(asked_at("ff02::1", 4), Some(None));
        assert_eq!(asked_at("::ffff:127.255.255.255", 1), None, "the IPv4 message shows it");
    }
}
