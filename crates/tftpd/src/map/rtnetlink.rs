//! The hardware addresses of neighbours by IPv6, from rtnetlink(7), because no file of /proc has
//! them. The kernel answers at once, from its memory.

use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Message types: RTM_GETLINK and its answer, RTM_GETNEIGH and its answer (<linux/rtnetlink.h>).
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const GET_NEIGHBOURS: u16 = 30;
const NEW_NEIGHBOUR: u16 = 28;
/// Flags NLM_F_REQUEST, and NLM_F_DUMP for all entries (<linux/netlink.h>).
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
/// Message types NLMSG_ERROR, and NLMSG_DONE at the end of a dump (<linux/netlink.h>).
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// AF_INET6 of <sys/socket.h>.
const AF_INET6: u8 = 10;
/// Flags of the states in which the kernel knows an address (<linux/neighbour.h>): NUD_REACHABLE,
/// _STALE, _DELAY, _PROBE, _PERMANENT.
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
/// Types of attributes: NDA_DST and NDA_LLADDR of <linux/neighbour.h>.
const ADDRESS: u16 = 1;
const HARDWARE: u16 = 2;
/// Bytes of struct nlmsghdr, ndmsg and rtattr.
const HEADER: usize = 16;
const NEIGHBOUR: usize = 12;
const ATTRIBUTE: usize = 4;
/// Bytes of a struct ndmsg that asks for neighbours by IPv6.
const NEIGHBOURS: [u8; NEIGHBOUR] = [AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Most bytes that the kernel sends in one message.
const BUFFER: usize = 32 * 1024;
/// Most messages of one answer that are read.
const MAX_MESSAGES: usize = 64;

/// A client on one of our networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// The interface that it is behind.
    interface: u32,
    /// Bytes of its hardware address.
    pub(super) hardware: Vec<u8>,
}

/// Returns the type of a neighbour's hardware (ARPHRD_ of <linux/if_arp.h>) and its address.
/// `scope` is the interface where that is known, or else 0.
pub(super) fn find(peer: Ipv6Addr, scope: u32) -> Option<(u16, Vec<u8>)> {
    let matches = |kind, body: &[u8]| match kind {
        NEW_NEIGHBOUR => neighbour(body, peer, scope),
        _ => None,
    };
    let Neighbour { interface, hardware } = ask(GET_NEIGHBOURS, DUMP, &NEIGHBOURS, matches)?;
    let kind = ask(GET_LINK, 0, &link(interface), |kind, body| match kind {
        NEW_LINK => body.get(2..4).and_then(word),
        _ => None,
    })?;
    Some((kind, hardware))
}

/// Makes a struct ifinfomsg that asks for this interface.
fn link(interface: u32) -> Vec<u8> {
    [&[0; 4], &interface.to_ne_bytes()[..], &[0; 8]].concat()
}

/// Asks the kernel; returns what `found` makes of the first message of the answer in which it finds
/// something.
fn ask<T>(
    kind: u16,
    flags: u16,
    body: &[u8],
    found: impl Fn(u16, &[u8]) -> Option<T>,
) -> Option<T> {
    let socket = open()?;
    let length = u32::try_from(HEADER + body.len()).ok()?;
    let flags = REQUEST | flags;
    let [first, last] = [length.to_ne_bytes(), [0; 4]]; // nlmsg_seq and nlmsg_pid: 0
    let words = [kind.to_ne_bytes(), flags.to_ne_bytes()].concat();
    let request = [&first[..], &words, &last, &last, body].concat();
    send(socket.as_raw_fd(), &request, MsgFlags::empty()).ok()?;
    let mut buffer = vec![0; BUFFER];
    for _ in 0..MAX_MESSAGES {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        for (kind, body) in messages(buffer.get(..length)?) {
            let answer = found(kind, body);
            if answer.is_some() || matches!(kind, ERROR | DONE) {
                return answer;
            }
        }
    }
    None
}

fn open() -> Option<OwnedFd> {
    let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).ok()?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(1)).ok()?;
    Some(socket)
}

/// Reads the neighbour in a message, if it is this one.
fn neighbour(body: &[u8], peer: Ipv6Addr, scope: u32) -> Option<Neighbour> {
    let interface = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let state = word(body.get(8..10)?)?;
    let value = |wanted| {
        let mut all = attributes(body.get(NEIGHBOUR..)?);
        all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    };
    let matches = value(ADDRESS)? == peer.octets() && (scope == 0 || scope == interface);
    let hardware = value(HARDWARE)?.to_vec();
    (matches && state & KNOWN != 0 && !hardware.is_empty())
        .then_some(Neighbour { interface, hardware })
}

/// Returns the messages of a datagram: type and body.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    records(bytes, |bytes| {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        Some((usize::try_from(length).ok()?, word(bytes.get(4..6)?)?, HEADER))
    })
}

/// Returns the attributes of a message: type and value.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    records(bytes, |bytes| {
        Some((word(bytes.get(..2)?)?.into(), word(bytes.get(2..4)?)?, ATTRIBUTE))
    })
}

/// Cuts bytes into records, of which `head` reads the length, the type and where the body begins;
/// each record begins at a multiple of four.
fn records(
    mut bytes: &[u8],
    head: impl Fn(&[u8]) -> Option<(usize, u16, usize)>,
) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind, begin) = head(bytes)?;
        let body = bytes.get(begin..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn word(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0xab, 0xcd, 0x0f];

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A neighbour behind interface 3.
    fn message(address: &str, state: u16, hardware: &[u8]) -> Vec<u8> {
        let address: Ipv6Addr = address.parse().unwrap();
        let mut body = vec![AF_INET6, 0, 0, 0, 3, 0, 0, 0];
        body[4..8].copy_from_slice(&3u32.to_ne_bytes());
        body.extend_from_slice(&state.to_ne_bytes());
        body.extend_from_slice(&[0, 1]);
        body.extend(attribute(ADDRESS, &address.octets()));
        body.extend(attribute(9, b"odd")); // a length that is no multiple of four
        body.extend(attribute(HARDWARE, hardware));
        body
    }

    fn hardware_in(body: &[u8], address: &str, scope: u32) -> Option<Vec<u8>> {
        neighbour(body, address.parse().unwrap(), scope).map(|found| found.hardware)
    }

    #[test]
    fn a_neighbour_is_found_by_its_address_and_interface() {
        let body = message("fe80::1", 0x04, &MAC);
        assert_eq!(hardware_in(&body, "fe80::1", 0).as_deref(), Some(&MAC[..]));
        assert_eq!(hardware_in(&body, "fe80::1", 3).as_deref(), Some(&MAC[..]));
        assert_eq!(hardware_in(&body, "fe80::1", 2), None, "behind another interface");
        assert_eq!(hardware_in(&body, "fe80::2", 3), None);
    }

    #[test]
    fn what_is_not_resolved_or_has_no_address_is_none() {
        assert_eq!(hardware_in(&message("fe80::1", 0x20, &MAC), "fe80::1", 0), None, "failed");
        assert_eq!(hardware_in(&message("fe80::1", 0x01, &MAC), "fe80::1", 0), None, "incomplete");
        assert_eq!(hardware_in(&message("fe80::1", 0x80, &[]), "fe80::1", 0), None);
    }

    #[test]
    fn messages_that_are_cut_anywhere_are_no_trouble() {
        let body = message("fe80::1", 0x02, &MAC);
        for length in 0..body.len() {
            let _ = hardware_in(&body[..length], "fe80::1", 0);
        }
        let header = |length: u32| [&length.to_ne_bytes()[..], &[28, 0, 0, 0], &[0; 8]].concat();
        for length in [0, 1, 15, 16, 17, u32::MAX] {
            assert!(messages(&header(length)).count() <= 1, "{length}");
        }
        let two = [header(16), header(16)].concat();
        assert_eq!(messages(&two).count(), 2);
    }

    #[test]
    fn this_machines_own_neighbours_can_be_asked_for() {
        assert_eq!(find("2001:db8::77".parse().unwrap(), 0), None);
        let every = |kind, _: &[u8]| (kind == DONE).then_some(());
        assert_eq!(
            ask(GET_NEIGHBOURS, DUMP, &NEIGHBOURS, every),
            Some(()),
            "the answer has an end"
        );
        let loopback = ask(GET_LINK, 0, &link(1), |_, body| body.get(2..4).and_then(word));
        assert_eq!(loopback, Some(772), "ARPHRD_LOOPBACK");
    }
}
