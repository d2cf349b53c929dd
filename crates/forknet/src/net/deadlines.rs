//! Time limits of a client: for a wait, a turn, and the whole session.

use std::time::{Duration, Instant};

/// Lowest rate of a client, in bytes a second: turn and session get a second more for each
/// [`MIN_RATE`] bytes. So one byte a second cannot keep a process for ever.
const MIN_RATE: u64 = 128;

/// The limits of a wait and of the whole session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) idle: Duration,
    /// Plus one second for each [`MIN_RATE`] bytes of both sides.
    pub(crate) deadline: Duration,
}

impl Timeouts {
    /// Limits each wait only, for clients.
    pub(crate) fn idle(idle: Duration) -> Timeouts {
        Timeouts { idle, deadline: Duration::MAX }
    }
}

/// The clock of the whole session.
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
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Returns the time and the bytes used so far.
    pub(crate) fn used(&self) -> (Duration, u64) {
        (self.since.elapsed(), self.bytes)
    }

    /// Returns when the session began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Returns the time left for the session.
    pub(crate) fn left(&self) -> Duration {
        let whole = self.deadline.saturating_add(Duration::from_secs(self.bytes / MIN_RATE));
        whole.saturating_sub(self.since.elapsed())
    }
}

/// The clock of a turn: the side that sends, its start and its bytes.
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

    /// Starts this side's turn, unless it is running.
    pub(crate) fn start(&mut self, is_reading: bool) {
        if self.is_reading != is_reading {
            *self = TurnClock::new(is_reading);
        }
    }

    pub(crate) fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns true while the client has sent nothing since the server's last reply.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_reading && self.bytes == 0
    }

    /// Returns the longest time that this turn may wait for the next byte.
    pub(crate) fn left(&self, idle: Duration) -> Duration {
        let whole = idle.saturating_add(Duration::from_secs(self.bytes / MIN_RATE));
        whole.saturating_sub(self.since.elapsed()).min(idle)
    }
}
