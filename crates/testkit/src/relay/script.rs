//! What a script receives for a datagram, and what it returns.

use std::time::Duration;

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

    /// It arrives after this delay.
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
