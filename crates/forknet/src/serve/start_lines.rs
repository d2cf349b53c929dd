//! The start and end lines of processes that answer datagrams.
//!
//! Each request begins a process, also one under a forged address. So only as many lines are written at once as
//! [`Throttle`] allows in a second. Another client has its start line as soon as it has proved its address, and one that
//! never does is only counted.

use std::time::{Duration, Instant};

use sys::private_memory::Table;

use crate::error::{Error, Result};
use crate::log::contract::Process;
use crate::log::throttle::Throttle;
use crate::serve::client_log;
use crate::serve::scoreboard::Slot;

/// Interval of checks for clients that have proved their addresses.
const LOOK: Duration = Duration::from_millis(200);

/// A process without a start line.
#[derive(Clone, Copy, Debug)]
struct Late {
    pid: i32,
    slot: Slot,
}

/// Decides which processes have lines.
#[derive(Debug)]
pub(crate) struct StartLines {
    throttle: Throttle,
    /// In memory that no child inherits: it has the addresses of clients.
    late: Table<Late>,
    looked_at: Instant,
}

impl StartLines {
    /// Makes the lines of a server with at most this many clients.
    ///
    /// # Errors
    /// mmap(2) fails.
    pub(crate) fn new(max_clients: usize) -> Result<StartLines> {
        let late = Table::with_room(max_clients.max(1));
        let late = late.map_err(Error::os("mmap of private memory"))?;
        Ok(StartLines { throttle: Throttle::default(), late, looked_at: Instant::now() })
    }

    /// Returns whether the next process has a start line at once.
    pub(crate) fn allows(&mut self) -> bool {
        self.throttle.allows_uncounted()
    }

    /// Logs the start of a process, or notes that it has no line yet.
    pub(crate) fn begin(&mut self, pid: i32, slot: Slot, is_allowed: bool) {
        if is_allowed || self.late.push(Late { pid, slot }).is_none() {
            start(pid, slot);
        }
    }

    /// Logs the start of those that have proved their addresses; returns the time until the next call.
    pub(crate) fn look(&mut self, is_proven: impl Fn(Slot) -> bool) -> Option<Duration> {
        if self.looked_at.elapsed() >= LOOK {
            self.looked_at = Instant::now();
            for number in (0..self.late.len()).rev() {
                if self.late.get(number).is_some_and(|late| is_proven(late.slot))
                    && let Some(late) = self.remove(number)
                {
                    start(late.pid, late.slot);
                }
            }
        }
        (!self.late.is_empty()).then(|| LOOK.saturating_sub(self.looked_at.elapsed()))
    }

    /// Returns whether the end of a process is to be logged. If it has no start line, that is logged now where it `has_lines`
    /// whatever the rate, as one has whose client has proved its address, and otherwise the process is counted.
    pub(crate) fn end(&mut self, slot: Slot, has_lines: bool) -> bool {
        let at = self.late.iter().position(|late| late.slot.number() == slot.number());
        let Some(late) = at.and_then(|at| self.remove(at)) else { return true };
        if has_lines {
            start(late.pid, late.slot);
        } else {
            self.throttle.leave_out();
        }
        has_lines
    }

    /// Removes one; the last takes its place.
    fn remove(&mut self, number: usize) -> Option<Late> {
        let (removed, last) = (self.late.get(number)?, self.late.pop()?);
        self.late.set(number, last);
        Some(removed)
    }

    /// Returns the time until [`StartLines::left_out`] has a count.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        self.throttle.due_in()
    }

    /// Returns the number of processes that the last period has counted, once it is over.
    pub(crate) fn left_out(&mut self) -> Option<u64> {
        self.throttle.left_out()
    }
}

fn start(pid: i32, slot: Slot) {
    if let Some(peer) = slot.peer() {
        client_log::start(peer, Process { pid, thread: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peer::Peer;
    use crate::serve::scoreboard::Scoreboard;
    use sys::shared_memory::Layout;

    fn slots(count: usize) -> Vec<Slot> {
        let mut board = Scoreboard::new(count, Layout::Packed).unwrap();
        (0..count).map(|_| board.take(Some(Peer::Unix)).unwrap()).collect()
    }

    #[test]
    fn beyond_the_rate_only_who_has_proved_its_address_has_lines() {
        let (slots, mut lines) = (slots(100), StartLines::new(100).unwrap());
        for slot in &slots {
            let is_allowed = lines.allows();
            lines.begin(1, *slot, is_allowed);
        }
        let early = 100 - lines.late.len();
        assert!(early > 0 && early < 50);
        assert!(slots[..early].iter().all(|slot| lines.end(*slot, false)));
        lines.looked_at -= Duration::from_secs(1);
        assert!(lines.look(|slot| slot.number() == 99).is_some());
        assert!(lines.end(slots[99], true), "its start is logged");
        assert!(lines.end(slots[98], true) && !lines.end(slots[97], false));
        assert_eq!(lines.late.len(), 100 - early - 3);
        assert!(lines.due_in().is_some() && lines.left_out().is_none());
    }
}
