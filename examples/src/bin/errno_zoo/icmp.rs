//! "Destination unreachable" as a router would send it (RFC 792), from a raw socket.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

const DESTINATION_UNREACHABLE: u8 = 3;

/// Sends the ICMP message about a datagram to `destination` to `sender`, a UDP socket of this
/// machine.
pub fn unreachable(code: u8, sender: SockaddrIn, destination: SockaddrIn) -> nix::Result<()> {
    let raw =
        socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?;
    let mut message = vec![DESTINATION_UNREACHABLE, code, 0, 0, 0, 0, 0, 0];
    message.extend(returned(sender, destination));
    let [high, low] = checksum(&message).to_be_bytes();
    message.splice(2..4, [high, low]);
    let router_to = SockaddrIn::from(std::net::SocketAddrV4::new(sender.ip(), 0));
    sendto(raw.as_raw_fd(), &message, &router_to, MsgFlags::empty()).map(drop)
}

/// Returns the head of the undeliverable datagram: IP header and eight bytes, by which the sender's
/// kernel finds the socket.
fn returned(sender: SockaddrIn, destination: SockaddrIn) -> Vec<u8> {
    const VERSION_4_FIVE_WORDS: u8 = 0x45;
    const TTL: u8 = 63; // one hop of 64
    const UDP: u8 = 17;
    let total: u16 = 20 + 8;
    let mut ip = vec![VERSION_4_FIVE_WORDS, 0];
    ip.extend(total.to_be_bytes());
    ip.extend([0, 0, 0, 0, TTL, UDP, 0, 0]); // identification, fragment, checksum: not checked
    ip.extend(sender.ip().octets());
    ip.extend(destination.ip().octets());
    ip.extend(sender.port().to_be_bytes());
    ip.extend(destination.port().to_be_bytes());
    ip.extend([0, 8, 0, 0]); // UDP's length and checksum
    ip
}

/// The Internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [last] => u32::from(*last) << 8,
        _ => 0,
    };
    let mut sum: u32 = octets.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
