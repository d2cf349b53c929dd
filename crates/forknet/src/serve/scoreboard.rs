//! The places for clients: a line of numbers for each, which its process shares with the parent.
//!
//! Which places are free, and whose each is, only the parent knows, in memory that no child has; what
//! stands in the lines is the children's word and may be anything.

use sys::fork::OneTask;
use sys::private_memory::Table;
use sys::shared_memory::{Layout, Lines};

use crate::error::{Error, Result};
use crate::net::counters::Counters;
use crate::net::peer::Peer;

/// A place for a client.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    number: usize,
    peer: Option<Peer>,
    counters: Counters,
}

impl Slot {
    /// Which place it is, from 0; it is given to others afterwards.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Who is served; `None` for a prefork worker, whose clients come and go.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// The numbers of its line.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The place of a process that has no parent.
    pub fn unshared(peer: Peer) -> Slot {
        Slot { number: 0, peer: Some(peer), counters: Counters::unshared() }
    }

    /// The same place with another client.
    pub(crate) fn with_peer(self, peer: Peer) -> Slot {
        Slot { peer: Some(peer), ..self }
    }
}

/// All places. Freed ones are used again, latest first, so that few pages are ever touched.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    lines: &'static Lines,
    /// Numbers of places that were used and are free again.
    free: Table<u32>,
    /// Places that were used.
    used: usize,
}

impl Scoreboard {
    /// Places for this many clients.
    pub(crate) fn new(clients: usize, layout: Layout) -> Result<Scoreboard> {
        let lines = Lines::new(clients, layout).map_err(Error::os("mmap of shared memory"))?;
        let free = Table::with_room(clients).map_err(Error::os("mmap of private memory"))?;
        Ok(Scoreboard { lines, free, used: 0 })
    }

    /// Returns true when every place is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.used == self.lines.count()
    }

    /// A place with a line of zeros, or `None` when all are taken.
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

    /// In a child that has no place: gives up all lines.
    pub(crate) fn unmap_lines(&self, alone: OneTask) -> nix::Result<()> {
        self.lines.unmap_all(alone)
    }

    /// The place is free again.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.free.push(u32::try_from(slot.number).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_zero_when_its_place_is_taken_again() {
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
