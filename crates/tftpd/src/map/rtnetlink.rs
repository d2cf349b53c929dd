//! The hardware addresses of neighbours by IPv6, which stand in no file: the kernel tells them by
//! rtnetlink(7). It answers at once, from its memory.

use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// RTM_GETLINK and its answer, RTM_GETNEIGH and its answer (<linux/rtnetlink.h>).
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const GET_NEIGHBOURS: u16 = 30;
const NEW_NEIGHBOUR: u16 = 28;
/// NLM_F_REQUEST; NLM_F_DUMP, for all there are.
const REQUEST: u16 = 1;
const ALL: u16 = 0x300;
/// NLMSG_ERROR and NLMSG_DONE, the end of an answer of many messages.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const AF_INET6: u8 = 10;
/// The states in which the kernel knows an address: NUD_REACHABLE, _STALE, _DELAY, _PROBE, _PERMANENT.
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
/// NDA_DST and NDA_LLADDR of <linux/neighbour.h>.
const ADDRESS: u16 = 1;
const HARDWARE: u16 = 2;
/// Octets of struct nlmsghdr, ndmsg and rtattr.
const HEADER: usize = 16;
const NEIGHBOUR: usize = 12;
const ATTRIBUTE: usize = 4;
/// A struct ndmsg that asks for neighbours by IPv6.
const NEIGHBOURS: [u8; NEIGHBOUR] = [AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The most that the kernel tells with one recv(2).
const PIECE: usize = 32 * 1024;
/// Longer answers are read as far as this.
const MAX_PIECES: usize = 64;

/// A client on one of our networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// The interface that it is behind.
    interface: u32,
    /// Octets of its hardware's address.
    pub(super) hardware: Vec<u8>,
}

/// The type of a neighbour's hardware (ARPHRD_ of <linux/if_arp.h>) and its address. `scope` is the
/// interface where that is known, or else 0.
pub(super) fn find(peer: Ipv6Addr, scope: u32) -> Option<(u16, Vec<u8>)> {
    let is_it = |kind, body: &[u8]| match kind {
        NEW_NEIGHBOUR => neighbour(body, peer, scope),
        _ => None,
    };
    let Neighbour { interface, hardware } = ask(GET_NEIGHBOURS, ALL, &NEIGHBOURS, is_it)?;
    let kind = ask(GET_LINK, 0, &link(interface), |kind, body| match kind {
        NEW_LINK => body.get(2..4).and_then(word),
        _ => None,
    })?;
    Some((kind, hardware))
}

/// A struct ifinfomsg that asks for this interface.
fn link(interface: u32) -> Vec<u8> {
    [&[0; 4], &interface.to_ne_bytes()[..], &[0; 8]].concat()
}

/// Asks the kernel; the first message of the answer in which something was `found`.
fn ask<T>(
    kind: u16,
    flags: u16,
    body: &[u8],
    found: impl Fn(u16, &[u8]) -> Option<T>,
) -> Option<T> {
    let socket = open()?;
    let length = u32::try_from(HEADER + body.len()).ok()?;
    let flags = REQUEST | flags;
    let [first, last] = [length.to_ne_bytes(), [0; 4]]; // a number of ours and a port: 0
    let words = [kind.to_ne_bytes(), flags.to_ne_bytes()].concat();
    let request = [&first[..], &words, &last, &last, body].concat();
    send(socket.as_raw_fd(), &request, MsgFlags::empty()).ok()?;
    let mut piece = vec![0; PIECE];
    for _ in 0..MAX_PIECES {
        let length = recv(socket.as_raw_fd(), &mut piece, MsgFlags::empty()).ok()?;
        for (kind, body) in messages(piece.get(..length)?) {
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

/// The neighbour in a message, if it is this one.
fn neighbour(body: &[u8], peer: Ipv6Addr, scope: u32) -> Option<Neighbour> {
    let interface = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let state = word(body.get(8..10)?)?;
    let value = |wanted| {
        let mut all = attributes(body.get(NEIGHBOUR..)?);
        all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    };
    let is_it = value(ADDRESS)? == peer.octets() && (scope == 0 || scope == interface);
    let hardware = value(HARDWARE)?.to_vec();
    (is_it && state & KNOWN != 0 && !hardware.is_empty())
        .then_some(Neighbour { interface, hardware })
}

/// Messages one after the other: their types and what is in them.
fn messages(octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    pieces(octets, |octets| {
        let length = u32::from_ne_bytes(octets.get(..4)?.try_into().ok()?);
        Some((usize::try_from(length).ok()?, word(octets.get(4..6)?)?, HEADER))
    })
}

/// The same of attributes.
fn attributes(octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    pieces(octets, |octets| {
        Some((word(octets.get(..2)?)?.into(), word(octets.get(2..4)?)?, ATTRIBUTE))
    })
}

/// Cuts octets into pieces, of which `head` reads the length, the type and where the rest begins; each
/// begins at a multiple of four.
fn pieces(
    mut octets: &[u8],
    head: impl Fn(&[u8]) -> Option<(usize, u16, usize)>,
) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind, begin) = head(octets)?;
        let body = octets.get(begin..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn word(octets: &[u8]) -> Option<u16> {
    octets.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0xab, 0xcd, 0x0f];

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut octets = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
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

    fn of(body: &[u8], address: &str, scope: u32) -> Option<Vec<u8>> {
        neighbour(body, address.parse().unwrap(), scope).map(|found| found.hardware)
    }

    #[test]
    fn a_neighbour_is_found_by_its_address_and_interface() {
        let body = message("fe80::1", 0x04, &MAC);
        assert_eq!(of(&body, "fe80::1", 0).as_deref(), Some(&MAC[..]));
        assert_eq!(of(&body, "fe80::1", 3).as_deref(), Some(&MAC[..]));
        assert_eq!(of(&body, "fe80::1", 2), None, "behind another interface");
        assert_eq!(of(&body, "fe80::2", 3), None);
    }

    #[test]
    fn what_is_not_resolved_or_has_no_address_is_none() {
        assert_eq!(of(&message("fe80::1", 0x20, &MAC), "fe80::1", 0), None, "failed");
        assert_eq!(of(&message("fe80::1", 0x01, &MAC), "fe80::1", 0), None, "incomplete");
        assert_eq!(of(&message("fe80::1", 0x80, &[]), "fe80::1", 0), None);
    }

    #[test]
    fn messages_that_are_cut_anywhere_are_no_trouble() {
        let body = message("fe80::1", 0x02, &MAC);
        for length in 0..body.len() {
            let _whatever = of(&body[..length], "fe80::1", 0);
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
        assert_eq!(ask(GET_NEIGHBOURS, ALL, &NEIGHBOURS, every), Some(()), "the answer has an end");
        let loopback = ask(GET_LINK, 0, &link(1), |_, body| body.get(2..4).and_then(word));
        assert_eq!(loopback, Some(772), "ARPHRD_LOOPBACK");
    }
}
