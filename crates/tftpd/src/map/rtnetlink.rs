//! Hardware addresses of IPv6 neighbours, from rtnetlink(7) because no file in /proc has them. The
//! kernel answers at once, without network traffic.

use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Message types RTM_GETLINK, RTM_NEWLINK, RTM_GETNEIGH and RTM_NEWNEIGH (<linux/rtnetlink.h>).
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
/// Flags of the states with a known hardware address: NUD_REACHABLE, NUD_STALE, NUD_DELAY,
/// NUD_PROBE and NUD_PERMANENT (<linux/neighbour.h>).
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
/// Attribute types NDA_DST and NDA_LLADDR (<linux/neighbour.h>).
const ADDRESS: u16 = 1;
const HARDWARE: u16 = 2;
/// Sizes of struct nlmsghdr, ndmsg and rtattr in bytes.
const HEADER: usize = 16;
const NEIGHBOUR: usize = 12;
const ATTRIBUTE: usize = 4;
/// Bytes of a struct ndmsg that asks for IPv6 neighbours.
const NEIGHBOURS: [u8; NEIGHBOUR] = [AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Receive buffer in bytes; the kernel's dump messages are at most this long.
const BUFFER: usize = 32 * 1024;
/// Most datagrams read for one answer.
const MAX_MESSAGES: usize = 64;

/// A neighbour on a directly connected network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Index of the interface.
    interface: u32,
    /// The hardware address.
    pub(super) hardware: Vec<u8>,
}

/// Returns a neighbour's hardware type (ARPHRD_ of <linux/if_arp.h>) and hardware address. `scope`
/// is the interface index, or 0 if unknown.
pub(super) fn find(peer: Ipv6Addr, scope: u32) -> Option<(u16, Vec<u8>)> {
    let matches = |kind, body: &[u8]| match kind {
        NEW_NEIGHBOUR => neighbour(body, peer, scope),
        _ => None,
    };
    let Neighbour { interface, hardware } = query(GET_NEIGHBOURS, DUMP, &NEIGHBOURS, matches)?;
    let kind = query(GET_LINK, 0, &link(interface), |kind, body| match kind {
        NEW_LINK => body.get(2..4).and_then(read_u16),
        _ => None,
    })?;
    Some((kind, hardware))
}

/// Returns a struct ifinfomsg that asks for this interface.
fn link(interface: u32) -> Vec<u8> {
    [&[0; 4], &interface.to_ne_bytes()[..], &[0; 8]].concat()
}

/// Sends a request to the kernel. Returns the first result of `found` that is not `None`, over the
/// messages of the answer.
fn query<T>(
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

/// Parses a neighbour message. Returns `None` if it is about another neighbour.
fn neighbour(body: &[u8], peer: Ipv6Addr, scope: u32) -> Option<Neighbour> {
    let interface = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let state = read_u16(body.get(8..10)?)?;
    let value = |wanted| {
        let mut all = attributes(body.get(NEIGHBOUR..)?);
        all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    };
    let matches = value(ADDRESS)? == peer.octets() && (scope == 0 || scope == interface);
    let hardware = value(HARDWARE)?.to_vec();
    (matches && state & KNOWN != 0 && !hardware.is_empty())
        .then_some(Neighbour { interface, hardware })
}

/// Returns the type and body of each message in a datagram.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    records(bytes, |bytes| {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        Some((usize::try_from(length).ok()?, read_u16(bytes.get(4..6)?)?, HEADER))
    })
}

/// Returns the type and value of each attribute in a message.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    records(bytes, |bytes| {
        Some((read_u16(bytes.get(..2)?)?.into(), read_u16(bytes.get(2..4)?)?, ATTRIBUTE))
    })
}

/// Splits bytes into records aligned to four bytes. `head` returns a record's length, its type and
/// the offset of its body.
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

fn read_u16(bytes: &[u8]) -> Option<u16> {
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

    /// A neighbour after interface 3.
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
    fn an_unresolved_neighbour_is_not_found() {
        assert_eq!(hardware_in(&message("fe80::1", 0x20, &MAC), "fe80::1", 0), None, "failed");
        assert_eq!(hardware_in(&message("fe80::1", 0x01, &MAC), "fe80::1", 0), None, "incomplete");
        assert_eq!(hardware_in(&message("fe80::1", 0x80, &[]), "fe80::1", 0), None);
    }

    #[test]
    fn truncated_messages_never_panic() {
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
            query(GET_NEIGHBOURS, DUMP, &NEIGHBOURS, every),
            Some(()),
            "the answer has an end"
        );
        let loopback = query(GET_LINK, 0, &link(1), |_, body| body.get(2..4).and_then(read_u16));
        assert_eq!(loopback, Some(772), "ARPHRD_LOOPBACK");
    }
}
