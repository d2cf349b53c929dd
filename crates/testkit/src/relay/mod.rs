//! A network between a client and a server that speak UDP: it loses, doubles, delays and reorders
//! datagrams by a script.
//!
//! ```text
//! client A ---- front S' ====[ script ]==== back A' ---- service S
//!          ---- front P' ====[ script ]==== back A' ---- port P of the transfer
//! ```
//!
//! The relay knows as much of TFTP as a router that translates addresses has to: a transfer is
//! answered from a port of its own (RFC 1350 §4), and that port gets a front of its own too, so
//! that the client sees the change of ports as it would without the relay. Each client has a back
//! of its own, so that the server can tell clients apart. Any number of transfers may run at once.

mod counts;
mod flow;
mod network;
mod script;
mod weather;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};

pub use counts::Counts;
use counts::Shared;
use network::Network;
pub use script::{Fate, Passing, Way};
pub use weather::Weather;

/// A network that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Stands before the service at `service`. The script is asked about each datagram. When a
    /// client's port is closed, so is what stands for it before the server.
    ///
    /// # Panics
    /// There are no sockets.
    #[must_use]
    pub fn start(
        service: SocketAddr,
        script: impl FnMut(&Passing<'_>) -> Fate + Send + 'static,
    ) -> Relay {
        let shared = Arc::new(Shared::default());
        let mut network = Network::new(service, Box::new(script), Arc::clone(&shared));
        let addr = network.addr();
        let thread = thread::spawn(move || network.run());
        Relay { addr, shared, thread: Some(thread) }
    }

    /// What the client talks to in place of the service.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the relay's script panicked");
    }
}
