//! What a transfer's process and its parent tell each other, in numbers that both can read and write.
//!
//! The parent trusts none of them: a process that was taken over writes there what it likes. So they
//! say nothing about any other process, and a time that lies in the future counts as now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forknet::Counters;

/// Index of the time at which the transfer was done, in nanoseconds since 1970; 0 before that.
const DONE_AT: usize = 0;
/// Index of a number that is not 0 once the process only dallies.
const DALLIES: usize = 1;
/// Index of the time at which the request came again, in nanoseconds since 1970; 0 when it did not,
/// or the process knows.
const REPEATED_AT: usize = 2;

/// The numbers of one transfer.
#[derive(Clone, Copy, Debug)]
pub struct SharedStatus(Counters);

impl SharedStatus {
    /// Makes one of the numbers of a process's slot.
    #[must_use]
    pub fn new(counters: Counters) -> SharedStatus {
        SharedStatus(counters)
    }

    /// Says that the transfer is done since `at`. The same request from the same peer is a new one if
    /// it came then or later; one that came earlier was only sent again.
    pub fn set_done(self, at: SystemTime) {
        self.0.set_number(DONE_AT, nanoseconds(at));
    }

    /// Returns since when the transfer is done, if it is.
    #[must_use]
    pub fn done_at(self) -> Option<SystemTime> {
        match self.0.number(DONE_AT) {
            0 => None,
            at => Some(time(at).min(SystemTime::now())),
        }
    }

    /// Says that the process has nothing left to do but to send its last ACK again if that was lost:
    /// it may be ended when its slot or its port is wanted.
    pub fn set_dallies(self) {
        self.0.set_number(DALLIES, 1);
    }

    /// Returns true if the process only dallies.
    #[must_use]
    pub fn dallies(self) -> bool {
        self.0.number(DALLIES) != 0
    }

    /// Tells the process that its request came again, at `at`.
    pub fn set_repeated(self, at: SystemTime) {
        self.0.set_number(REPEATED_AT, nanoseconds(at));
    }

    /// Returns when the request came again, once for each time.
    #[must_use]
    pub fn take_repeated(self) -> Option<SystemTime> {
        match self.0.take_number(REPEATED_AT) {
            0 => None,
            at => Some(time(at)),
        }
    }
}

/// Returns a time as nanoseconds since 1970, which fit until the year 2554.
fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}
