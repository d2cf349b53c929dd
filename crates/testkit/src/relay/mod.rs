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

mod flow;
mod network;
mod weather;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use network::Network;
pub use weather::Weather;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From a client to the server.
    ToServer,
    /// From the server to a client.
    ToClient,
}

/// A datagram on its way, as the script sees it.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Which way it goes.
    pub way: Way,
    /// A number made of the transfer's first datagram, the request: the same transfer has the same
    /// number in each run, whatever else goes on.
    pub transfer: u64,
    /// How many datagrams of the transfer went this way before it.
    pub number: u64,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// What becomes of a datagram: how long each of its copies is on the way. None is a loss; later
/// datagrams overtake one that takes longer than they.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate(pub Vec<Duration>);

impl Fate {
    /// It is lost.
    #[must_use]
    pub fn lost() -> Fate {
        Fate(Vec::new())
    }

    /// It passes at once.
    #[must_use]
    pub fn passes() -> Fate {
        Fate::late(Duration::ZERO)
    }

    /// It arrives after so long.
    #[must_use]
    pub fn late(delay: Duration) -> Fate {
        Fate(vec![delay])
    }

    /// It arrives twice at once.
    #[must_use]
    pub fn twice() -> Fate {
        Fate(vec![Duration::ZERO; 2])
    }
}

/// What a relay has done so far, in datagrams that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that came.
    pub came: u64,
    /// Those of them that were lost by the script.
    pub lost: u64,
    /// Those that arrived more than once.
    pub doubled: u64,
    /// Copies that were held back for a while.
    pub late: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    came: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    late: AtomicU64,
}

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
        let Shared { came, lost, doubled, late, .. } = &*self.shared;
        let [came, lost, doubled, late] = [came, lost, doubled, late].map(|n| n.load(Relaxed));
        Counts { came, lost, doubled, late }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the relay's script panicked");
    }
}
