//! What routers say about packets on their way (ICMP, RFC 792) while a client reads.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::udp::{Served, Udp, ack, data, noise, oack, rrq, with};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};

/// "Destination unreachable", and for want of what.
const UNREACHABLE: u8 = 3;
/// A protocol, a source route, a host. Not code 4, a smaller MTU, which the kernel would remember for
/// every packet on the loopback.
const CODES: [u8; 3] = [2, 5, 7];

/// The Internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// As if a router had met a packet from one to the other that it could not pass on.
fn unreachable(code: u8, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { panic!("IPv4 here") };
    let mut message = vec![UNREACHABLE, code, 0, 0, 0, 0, 0, 0];
    // The headers of the packet: IPv4, 20 octets, 1500 in all, not to be cut, UDP.
    message.extend([0x45, 0, 5, 220, 0, 1, 0x40, 0, 64, 17, 0, 0]);
    message.extend([from.ip().octets(), to.ip().octets()].concat());
    message.extend([from.port(), to.port(), 1480, 0].map(u16::to_be_bytes).concat());
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

#[test]
fn what_routers_say_about_packets_on_their_way_ends_no_transfer() {
    // Only root may send ICMP.
    if !testkit::root_can_judge() {
        return;
    }
    let (family, kind, flags) = (AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let router = socket(family, kind, flags, SockProtocol::Icmp).unwrap();
    let served = Served::with(&[]);
    let file = noise(1468 * 3 + 7, 8);
    served.write("x", &file);
    for code in CODES {
        let mut peer = served.peer();
        peer.send(with(&rrq(b"x", "octet"), "blksize 1468"));
        peer.expect(oack("blksize 1468"));
        peer.send(ack(0));
        for (number, block) in (1..).zip(file.chunks(1468)) {
            peer.expect(data(number, block));
            tell(&router, code, &peer);
            peer.send(ack(number));
        }
    }
}

/// Tells the server about the packet that it has sent last.
fn tell(router: &impl AsRawFd, code: u8, peer: &Udp) {
    let message = unreachable(code, peer.peer, peer.addr());
    let to = SockaddrStorage::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    sendto(router.as_raw_fd(), &message, &to, MsgFlags::empty()).unwrap();
}
