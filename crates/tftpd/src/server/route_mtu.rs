//! `--mtu-blksize`: the largest block that needs no fragments on the way to a client.

use std::net::SocketAddr;

use sys::udp::route_mtu;

use crate::wire::options::{MAX_BLKSIZE, MIN_BLKSIZE};
use crate::wire::packet::{DEFAULT_BLKSIZE, HEADER};

/// Bytes of an IPv4 header without options, of an IPv6 header, and of a UDP header.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;

/// Returns the largest block in bytes whose packet is as long as the route's MTU; the default of RFC 1350 if that is not known.
#[must_use]
pub fn largest_block(peer: SocketAddr) -> u16 {
    let ip = if peer.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
    let found = route_mtu(peer).map(|mtu| mtu.saturating_sub(ip + UDP_HEADER + HEADER));
    let block = found.unwrap_or(DEFAULT_BLKSIZE);
    u16::try_from(block).unwrap_or(u16::MAX).clamp(MIN_BLKSIZE, MAX_BLKSIZE)
}
