//! Status of a transfer in shared memory, between its process and the parent.
//!
//! The parent trusts none of the numbers, because a compromised process may write anything. So they
//! affect no other process, and a time in the future counts as now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forknet::Counters;

/// Index of the time at which the transfer was done, in nanoseconds since 1970; 0 before that.
const DONE_AT: usize = 0;
/// Index of a flag that is nonzero once the process only dallies.
const DALLIES: usize = 1;
/// Index of the time at which the request was repeated, in nanoseconds since 1970; 0 if it was not,
/// or the process has taken the time.
const REPEATED_AT: usize = 2;
/// Index of a flag that is nonzero once the client has answered.
const ANSWERED: usize = 3;

/// The shared numbers of one transfer.
#[derive(Clone, Copy, Debug)]
pub struct SharedStatus(Counters);

impl SharedStatus {
    /// Wraps the numbers of a process's slot.
    #[must_use]
    pub fn new(counters: Counters) -> SharedStatus {
        SharedStatus(counters)
    }

    /// Reports that the transfer was done at `at`. An identical request from the same peer is a new
    /// one if it arrived then or later; an earlier one is a repetition.
    pub fn set_done(self, at: SystemTime) {
        self.0.set_number(DONE_AT, nanoseconds(at));
    }

    /// Returns when the transfer was done, if it is.
    #[must_use]
    pub fn done_at(self) -> Option<SystemTime> {
        match self.0.number(DONE_AT) {
            0 => None,
            at => Some(time(at).min(SystemTime::now())),
        }
    }

    /// Reports that the process only dallies, to repeat its last ACK if that was lost. The parent
    /// may end it when its slot or port is needed.
    pub fn set_dallies(self) {
        self.0.set_number(DALLIES, 1);
    }

    /// Returns whether the process only dallies.
    #[must_use]
    pub fn dallies(self) -> bool {
        self.0.number(DALLIES) != 0
    }

    /// Reports that the client has answered, so that its address is not forged. Until then the parent may end the
    /// process when its slot is needed.
    pub fn set_answered(self) {
        if !self.is_answered() {
            self.0.set_number(ANSWERED, 1);
        }
    }

    /// Returns whether the client has answered.
    #[must_use]
    pub fn is_answered(self) -> bool {
        self.0.number(ANSWERED) != 0
    }

    /// Tells the process that its request was repeated at `at`.
    pub fn set_repeated(self, at: SystemTime) {
        self.0.set_number(REPEATED_AT, nanoseconds(at));
    }

    /// Returns when the request was repeated, and clears it.
    #[must_use]
    pub fn take_repeated(self) -> Option<SystemTime> {
        match self.0.take_number(REPEATED_AT) {
            0 => None,
            at => Some(time(at)),
        }
    }
}

/// Returns a time as nanoseconds since 1970. They fit in 64 bits until the year 2554.
fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}
