//! How long a client may take: for a wait, for a turn, for its whole session.

use std::time::{Duration, Instant};

/// The slowest client that is still served, in bytes a second: turn and session may last a second more
/// for each this many. One byte a second does not keep a process for ever.
const MIN_RATE: u64 = 128;

/// How long a client may be silent, and how long its whole session may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) idle: Duration,
    /// A second more for each [`MIN_RATE`] bytes of both sides.
    pub(crate) deadline: Duration,
}

impl Timeouts {
    /// No limit but that of each wait: for clients, which know what they want.
    pub(crate) fn idle(idle: Duration) -> Timeouts {
        Timeouts { idle, deadline: Duration::MAX }
    }
}

/// The session as a whole.
#[derive(Debug)]
pub(crate) struct SessionClock {
    pub(crate) deadline: Duration,
    since: Instant,
    bytes: u64,
}

impl SessionClock {
    pub(crate) fn new(deadline: Duration, since: Instant) -> SessionClock {
        SessionClock { deadline, since, bytes: 0 }
    }

    pub(crate) fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// What is left of the session's time.
    pub(crate) fn left(&self) -> Duration {
        let whole = self.deadline.saturating_add(Duration::from_secs(self.bytes / MIN_RATE));
        whole.saturating_sub(self.since.elapsed())
    }
}

/// Which side is speaking, since when, and how much was said.
#[derive(Debug)]
pub(crate) struct TurnClock {
    is_reading: bool,
    since: Instant,
    bytes: u64,
}

impl TurnClock {
    pub(crate) fn new(is_reading: bool) -> TurnClock {
        TurnClock { is_reading, since: Instant::now(), bytes: 0 }
    }

    /// The other side's turn begins, if this is not the one that runs.
    pub(crate) fn start(&mut self, is_reading: bool) {
        if self.is_reading != is_reading {
            *self = TurnClock::new(is_reading);
        }
    }

    pub(crate) fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns true while the client has said nothing since our last words.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_reading && self.bytes == 0
    }

    /// How long this turn may still wait for the next byte.
    pub(crate) fn left(&self, idle: Duration) -> Duration {
        let whole = idle.saturating_add(Duration::from_secs(self.bytes / MIN_RATE));
        whole.saturating_sub(self.since.elapsed()).min(idle)
    }
}
