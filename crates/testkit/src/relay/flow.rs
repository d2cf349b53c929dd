//! One client's way through the relay.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use super::script::Way;

/// Where in the relay's table a socket stands.
pub(super) type Place = usize;

/// A client's transfer: its back, and the fronts of the ports that have answered it.
#[derive(Debug)]
pub(super) struct Flow {
    /// Made of its request; see [`super::script::Passing`].
    pub(super) transfer: u64,
    /// The socket that stands for the client.
    pub(super) back: Place,
    /// The ports of the server's, and the socket that stands for each.
    pub(super) fronts: HashMap<SocketAddr, Place>,
    /// When its last datagram came.
    pub(super) heard: Instant,
    /// How many datagrams went each way.
    passed: [u64; 2],
}

impl Flow {
    pub(super) fn new(transfer: u64, back: Place) -> Flow {
        let (fronts, heard) = (HashMap::new(), Instant::now());
        Flow { transfer, back, fronts, heard, passed: [0; 2] }
    }

    /// The transfer, and the number of the datagram that goes this way now.
    pub(super) fn count(&mut self, way: Way) -> (u64, u64) {
        self.heard = Instant::now();
        let passed = &mut self.passed[way as usize];
        *passed += 1;
        (self.transfer, *passed - 1)
    }

    /// All of its sockets.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.fronts.values().copied().chain([self.back])
    }
}

/// True for an RRQ and a WRQ (RFC 1350 figure 5-1).
pub(super) fn is_request(datagram: &[u8]) -> bool {
    matches!(datagram, [0, 1 | 2, ..])
}

/// The number of the transfer that a request begins: the same in each run.
pub(super) fn number(request: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}
