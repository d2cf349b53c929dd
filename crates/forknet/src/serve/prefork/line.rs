//! A prefork worker's report of its client, in its own line of the scoreboard.
//!
//! Each worker has only its own line, so that a worker that is taken over can lie about its own
//! client only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::net::counters::Counters;
use crate::net::peer::Peer;

/// Indexes of the numbers in the line, after those of [`Counters`].
const CLIENT: usize = 0;
const ADDRESS: [usize; 2] = [1, 2];
const ACCEPTED: usize = 3;
/// Index of the client's start, in nanoseconds since 1970.
const SINCE: usize = 4;

/// Bits 16 and 17 of [`CLIENT`]: the kind of client. Bits 0 to 15 are its port, bits from 32 on the
/// scope of an IPv6 address.
const ON_THE_NETWORK: u64 = 1 << 16;
const ON_THIS_MACHINE: u64 = 2 << 16;
const KIND: u64 = 3 << 16;

/// The line of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerLine(Counters);

impl WorkerLine {
    pub(crate) fn new(counters: Counters) -> WorkerLine {
        WorkerLine(counters)
    }

    /// Notes the start of a client.
    pub(crate) fn begin(self, peer: Peer) {
        self.0.reset_bytes();
        self.0.set_number(ACCEPTED, self.accepted().wrapping_add(1));
        self.0.set_number(SINCE, since_1970().as_nanos() as u64);
        let (Peer::Ip(address) | Peer::Told(address) | Peer::Proxy(Some(address))) = peer else {
            return self.0.set_number(CLIENT, ON_THIS_MACHINE);
        };
        let ip = match address {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
            SocketAddr::V6(v6) => *v6.ip(),
        };
        let bits = u128::from(ip);
        for (index, half) in ADDRESS.into_iter().zip([(bits >> 64) as u64, bits as u64]) {
            self.0.set_number(index, half);
        }
        let scope = if let SocketAddr::V6(v6) = address { v6.scope_id() } else { 0 };
        let port = u64::from(address.port());
        self.0.set_number(CLIENT, u64::from(scope) << 32 | ON_THE_NETWORK | port);
    }

    /// Notes the end of the client.
    pub(crate) fn end(self) {
        self.0.set_number(CLIENT, 0);
    }

    /// Returns the number of clients that the worker has accepted.
    pub(crate) fn accepted(self) -> u64 {
        self.0.number(ACCEPTED)
    }

    /// Returns the client's age.
    pub(crate) fn age(self) -> Duration {
        since_1970().saturating_sub(Duration::from_nanos(self.0.number(SINCE)))
    }

    /// Returns the client that the worker serves.
    pub(crate) fn peer(self) -> Option<Peer> {
        let client = self.0.number(CLIENT);
        match client & KIND {
            0 => None,
            ON_THE_NETWORK => {
                let [high, low] = ADDRESS.map(|index| self.0.number(index));
                let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
                let v6 = SocketAddrV6::new(ip, client as u16, 0, (client >> 32) as u32);
                Some(Peer::Ip(match ip.to_canonical() {
                    v4 @ IpAddr::V4(_) => SocketAddr::new(v4, client as u16),
                    IpAddr::V6(_) => SocketAddr::V6(v6),
                }))
            }
            _ => Some(Peer::Unix),
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_workers_client() {
        let line = WorkerLine::new(Counters::unshared());
        assert_eq!((line.peer(), line.accepted()), (None, 0));
        for text in ["127.0.0.1:0", "10.1.2.3:65535", "[2001:db8::7]:25", "[fe80::1%7]:25"] {
            let peer = Peer::Ip(text.parse().unwrap());
            line.begin(peer);
            assert_eq!(line.peer(), Some(peer));
        }
        line.begin(Peer::Unix);
        assert_eq!((line.peer(), line.accepted()), (Some(Peer::Unix), 5));
        line.end();
        assert_eq!(line.peer(), None);
    }

    #[test]
    fn any_numbers_in_a_line_are_a_peer_or_none() {
        let counters = Counters::unshared();
        for number in [u64::MAX, 0x4141_4141_4141_4141, 1 << 16, 2 << 16, 3 << 16] {
            (0..6).for_each(|index| counters.set_number(index, number));
            let _ = WorkerLine::new(counters).peer().map(|peer| peer.to_string());
        }
    }
}
