//! One client's way through the relay.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use super::Way;

/// Where in the relay's table a socket stands.
pub(super) type Place = usize;

/// A client: its back, and the fronts of the ports that have answered it.
#[derive(Debug)]
pub(super) struct Flow {
    /// The socket that stands for the client.
    pub(super) back: Place,
    /// The ports of the server's, and the socket that stands for each.
    pub(super) fronts: HashMap<SocketAddr, Place>,
    /// When its last datagram came.
    pub(super) heard: Instant,
    /// Made of the last request; see [`super::Passing`].
    transfer: u64,
    /// How many datagrams went each way.
    passed: [u64; 2],
}

impl Flow {
    pub(super) fn new(back: Place) -> Flow {
        let (fronts, heard) = (HashMap::new(), Instant::now());
        Flow { back, fronts, heard, transfer: 0, passed: [0; 2] }
    }

    /// A datagram to the service's port is a request: of the transfer that is going on, come again,
    /// or of another one.
    pub(super) fn request(&mut self, datagram: &[u8]) {
        let mut hasher = DefaultHasher::new();
        datagram.hash(&mut hasher);
        let transfer = hasher.finish();
        if self.transfer != transfer {
            (self.transfer, self.passed) = (transfer, [0; 2]);
        }
    }

    /// The transfer, and the number of the datagram that goes this way now.
    pub(super) fn count(&mut self, way: Way) -> (u64, u64) {
        self.heard = Instant::now();
        let passed = &mut self.passed[way as usize];
        *passed += 1;
        (self.transfer, *passed - 1)
    }
}
