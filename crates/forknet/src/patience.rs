//! How long a client may take: for a word, for a turn, for its whole session.

use std::time::{Duration, Instant};

/// The slowest client that is still served, in octets a second: a turn may last the idle limit and
/// a second more for each so many octets. One byte a second does not keep a process for ever.
const MIN_RATE: u64 = 128;

/// How long a client may be silent, and how long its whole session may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) idle: Duration,
    /// A second more for each 128 octets of both sides.
    pub(crate) deadline: Duration,
}

impl Patience {
    /// No limit but that of each wait: for clients, who know what they want.
    pub(crate) fn idle(idle: Duration) -> Patience {
        Patience { idle, deadline: Duration::MAX }
    }
}

/// The session as a whole.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) deadline: Duration,
    /// When it began; else when the clock was first looked at.
    pub(crate) since: Option<Instant>,
    pub(crate) octets: u64,
}

impl Session {
    pub(crate) fn left(&mut self) -> Duration {
        let since = *self.since.get_or_insert_with(Instant::now);
        let whole = self.deadline.saturating_add(Duration::from_secs(self.octets / MIN_RATE));
        whole.saturating_sub(since.elapsed())
    }
}

/// Who is speaking, since when, and how much was said.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) reading: bool,
    pub(crate) since: Option<Instant>,
    pub(crate) octets: u64,
}

impl Turn {
    pub(crate) fn start(&mut self, reading: bool) {
        if self.reading != reading {
            *self = Turn { reading, since: None, octets: 0 };
        }
    }

    /// How long this turn may still wait for the next octet.
    pub(crate) fn allowance(&mut self, idle: Duration) -> Duration {
        let since = *self.since.get_or_insert_with(Instant::now);
        let whole = idle.saturating_add(Duration::from_secs(self.octets / MIN_RATE));
        whole.saturating_sub(since.elapsed()).min(idle)
    }
}
