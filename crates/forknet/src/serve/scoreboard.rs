//! The slots of clients, each with a line of numbers that its process shares with the parent.
//!
//! The parent keeps the free slots in memory that no child inherits. The lines are untrusted input
//! from the children.

use sys::fork::OneTask;
use sys::private_memory::Table;
use sys::shared_memory::{Layout, Lines};

use crate::error::{Error, Result};
use crate::net::counters::Counters;
use crate::net::peer::Peer;

/// The slot of a client.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    number: usize,
    peer: Option<Peer>,
    counters: Counters,
}

impl Slot {
    /// Returns the slot's number, from 0, which is reused later.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the client; `None` for a prefork worker, whose clients change.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// Returns its line.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the slot of a process without a parent.
    pub fn unshared(peer: Peer) -> Slot {
        Slot { number: 0, peer: Some(peer), counters: Counters::unshared() }
    }

    /// Returns the same slot with another client.
    pub(crate) fn with_peer(self, peer: Peer) -> Slot {
        Slot { peer: Some(peer), ..self }
    }
}

/// All slots. The last one freed is reused first, so that few pages are touched.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    lines: &'static Lines,
    /// Numbers of the free slots among those used before.
    free: Table<u32>,
    /// Number of slots used so far.
    used: usize,
}

impl Scoreboard {
    /// Makes slots for this many clients.
    pub(crate) fn new(clients: usize, layout: Layout) -> Result<Scoreboard> {
        let lines = Lines::new(clients, layout).map_err(Error::os("mmap of shared memory"))?;
        let free = Table::with_room(clients).map_err(Error::os("mmap of private memory"))?;
        Ok(Scoreboard { lines, free, used: 0 })
    }

    /// Returns true when no slot is free.
    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.used == self.lines.count()
    }

    /// Acquires a slot with a line of zeros; `None` when no slot is free.
    pub(crate) fn take(&mut self, peer: Option<Peer>) -> Option<Slot> {
        let number = match self.free.pop() {
            Some(number) => usize::try_from(number).ok()?,
            None if self.used < self.lines.count() => {
                self.used += 1;
                self.used - 1
            }
            None => return None,
        };
        let counters = Counters::new(self.lines, number);
        counters.reset();
        Some(Slot { number, peer, counters })
    }

    /// Unmaps all lines, in a child without a slot.
    pub(crate) fn unmap_lines(&self, alone: OneTask) -> nix::Result<()> {
        self.lines.unmap_all(alone)
    }

    /// Frees the slot.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.free.push(u32::try_from(slot.number).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_zero_when_its_slot_is_reused() {
        let mut board = Scoreboard::new(1, Layout::Packed).unwrap();
        let slot = board.take(Some(Peer::Unix)).unwrap();
        assert!(board.is_full() && board.take(None).is_none());
        slot.counters().received(5);
        slot.counters().sent(6);
        slot.counters().set_number(5, 7);
        assert_eq!((slot.counters().bytes(), slot.counters().number(5)), ((5, 6), 7));
        board.release(slot);
        let again = board.take(None).unwrap();
        assert!(board.is_full() && again.number() == 0 && again.peer().is_none());
        assert_eq!((again.counters().bytes(), again.counters().number(5)), ((0, 0), 0));
    }
}
