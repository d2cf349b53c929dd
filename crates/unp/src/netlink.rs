//! Some of what `ip` and `ss` of iproute2 do: requests to the kernel in messages of netlink(7),
//! rtnetlink(7) and sock_diag(7).

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The index of `lo`: it is the first interface of every namespace.
pub const LOOPBACK: u32 = 1;

/// `ip link set … up` or `down`.
///
/// # Errors
/// The kernel's: ENODEV, EPERM.
pub fn bring_up(interface: u32, up: bool) -> nix::Result<()> {
    let iff_up = libc::IFF_UP as u32;
    let link = ifinfomsg(interface, if up { iff_up } else { 0 }, iff_up);
    ask(SockProtocol::NetlinkRoute, libc::RTM_NEWLINK, 0, &link)
}

/// `ip link set … mtu N`, N in bytes.
///
/// # Errors
/// The kernel's: EINVAL, ENODEV, EPERM.
pub fn set_mtu(interface: u32, mtu: u32) -> nix::Result<()> {
    let link = [ifinfomsg(interface, 0, 0), attribute(libc::IFLA_MTU, &mtu.to_ne_bytes())];
    ask(SockProtocol::NetlinkRoute, libc::RTM_NEWLINK, 0, &link.concat())
}

/// `ip address add ADDRESS/PREFIX dev …`.
///
/// # Errors
/// The kernel's: EEXIST, ENODEV, EPERM.
pub fn add_address(interface: u32, address: Ipv4Addr, prefix: u8) -> nix::Result<()> {
    let mut body = vec![libc::AF_INET as u8, prefix, 0, 0];
    body.extend(interface.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &address.octets()));
    body.extend(attribute(libc::IFA_ADDRESS, &address.octets()));
    ask(SockProtocol::NetlinkRoute, libc::RTM_NEWADDR, libc::NLM_F_CREATE, &body)
}

/// `ip link add NAME type veth peer name PEER`: two network cards and the cable between them.
///
/// # Errors
/// The kernel's: EEXIST, EPERM.
pub fn add_cable(name: &str, peer: &str) -> nix::Result<()> {
    cable(name, &named(peer))
}

/// Does the same with the other card in another machine (`netns`), the namespace of /proc/PID/ns/net.
///
/// # Errors
/// As [`add_cable`].
pub fn add_cable_to(name: &str, peer: &str, namespace: &impl AsFd) -> nix::Result<()> {
    let namespace = namespace.as_fd().as_raw_fd().to_ne_bytes();
    cable(name, &[named(peer), attribute(libc::IFLA_NET_NS_FD, &namespace)].concat())
}

fn named(name: &str) -> Vec<u8> {
    attribute(libc::IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat())
}

fn cable(name: &str, peer: &[u8]) -> nix::Result<()> {
    const VETH_INFO_PEER: u16 = 1; // linux/veth.h
    let peer = [&ifinfomsg(0, 0, 0), peer].concat();
    let kind = [
        attribute(libc::IFLA_INFO_KIND, b"veth"),
        attribute(libc::IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer)),
    ];
    let link = [ifinfomsg(0, 0, 0), named(name), attribute(libc::IFLA_LINKINFO, &kind.concat())];
    ask(SockProtocol::NetlinkRoute, libc::RTM_NEWLINK, libc::NLM_F_CREATE, &link.concat())
}

/// `ss -K`: the kernel closes a TCP connection that its owner still has open.
///
/// # Errors
/// The kernel's: ENOENT for no such connection, EPERM, EOPNOTSUPP.
pub fn destroy_connection(here: SockaddrIn, there: SockaddrIn) -> nix::Result<()> {
    const SOCK_DESTROY: u16 = 21; // linux/sock_diag.h
    let mut body = vec![libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(u32::MAX.to_ne_bytes()); // in whatever state
    body.extend(here.port().to_be_bytes());
    body.extend(there.port().to_be_bytes());
    for end in [here, there] {
        body.extend(end.ip().octets());
        body.extend([0; 12]); // there is room for an IPv6 address
    }
    body.extend(0u32.to_ne_bytes()); // on whatever interface
    body.extend([0xff; 8]); // no cookie
    ask(SockProtocol::NetlinkSockDiag, SOCK_DESTROY, 0, &body)
}

/// struct ifinfomsg.
fn ifinfomsg(interface: u32, flags: u32, change: u32) -> Vec<u8> {
    let family_type = 0u32;
    [family_type, interface, flags, change].iter().flat_map(|n| n.to_ne_bytes()).collect()
}

/// struct rtattr: length, type, value, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = (4 + value.len() as u16).to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Sends one request and reads the kernel's answer to it.
fn ask(protocol: SockProtocol, kind: u16, flags: i32, body: &[u8]) -> nix::Result<()> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(5))?;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    let mut request = (16 + body.len() as u32).to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]); // sequence number, port
    request.extend(body);
    send(fd.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsghdr, then struct nlmsgerr, which begins with the negative errno, or 0.
    match answer.get(16..20).and_then(|errno| errno.try_into().ok()) {
        Some(errno) if length >= 20 => match i32::from_ne_bytes(errno) {
            0 => Ok(()),
            errno => Err(Errno::from_raw(-errno)),
        },
        _ => Err(Errno::EBADMSG),
    }
}
