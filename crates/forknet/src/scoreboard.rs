//! A page or two of memory that parent and children share: a child writes what it has done, the
//! parent reads it when it logs. Nobody waits for anybody.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::error::{Error, Result};

/// One client's line on the scoreboard.
#[derive(Debug, Default)]
#[repr(C)]
struct Slot {
    received: AtomicU64,
    sent: AtomicU64,
    /// When the work was complete, in nanoseconds since 1970; 0 before that.
    done: AtomicU64,
    lingers: AtomicBool,
}

/// What one client's process reports to the parent.
#[derive(Clone, Copy, Debug)]
pub struct Progress(&'static Slot);

impl Progress {
    /// Counts octets that came from the client.
    pub fn received(&self, octets: usize) {
        self.0.received.fetch_add(octets as u64, Relaxed);
    }

    /// Counts octets that go to the client.
    pub fn sent(&self, octets: usize) {
        self.0.sent.fetch_add(octets as u64, Relaxed);
    }

    /// The work asked for is complete since `at`. For datagrams: the same request from the same
    /// peer is a new one if it came then or later; what came earlier was only sent again.
    pub fn done(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.done.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// When the work was complete, if it is.
    pub(crate) fn done_at(self) -> Option<SystemTime> {
        match self.0.done.load(Relaxed) {
            0 => None,
            at => Some(UNIX_EPOCH + Duration::from_nanos(at)),
        }
    }

    /// The child has nothing left to do but to stay in case its last words were lost: it may be
    /// ended when its place is wanted.
    pub fn lingers(&self) {
        self.0.lingers.store(true, Relaxed);
    }

    pub(crate) fn is_lingering(self) -> bool {
        self.0.lingers.load(Relaxed)
    }

    /// Octets received and sent so far.
    pub(crate) fn octets(self) -> (u64, u64) {
        (self.0.received.load(Relaxed), self.0.sent.load(Relaxed))
    }

    fn reset(self) {
        self.0.received.store(0, Relaxed);
        self.0.sent.store(0, Relaxed);
        self.0.done.store(0, Relaxed);
        self.0.lingers.store(false, Relaxed);
    }

    /// For a process that has no parent to report to.
    pub(crate) fn unshared() -> Progress {
        Progress(Box::leak(Box::default()))
    }
}

/// All slots. Freed ones are used again, latest first, so that few pages are ever touched.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    slots: &'static [Slot],
    fresh: usize,
    freed: Vec<Progress>,
}

impl Scoreboard {
    /// Shared memory for as many clients; pages are taken only as they are used.
    pub(crate) fn new(clients: usize) -> Result<Scoreboard> {
        let size = NonZeroUsize::new(clients.saturating_mul(size_of::<Slot>()))
            .ok_or_else(|| Error::Refused("no room for any client".into()))?;
        let (prot, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: a new anonymous mapping overlaps nothing.
        let memory = unsafe { mmap_anonymous(None, size, prot, flags) }
            .map_err(Error::os("mmap of the scoreboard"))?;
        // SAFETY: the mapping is as long as `clients` slots, page-aligned, never unmapped (hence
        // 'static), and zero bytes are a valid Slot; every field is atomic, so that the processes
        // which share it may all write.
        let slots = unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<Slot>(), clients) };
        Ok(Scoreboard { slots, fresh: 0, freed: Vec::new() })
    }

    /// A zeroed line, or `None` when all are taken.
    pub(crate) fn take(&mut self) -> Option<Progress> {
        if let Some(freed) = self.freed.pop() {
            freed.reset();
            return Some(freed);
        }
        let slot = self.slots.get(self.fresh)?;
        self.fresh += 1;
        Some(Progress(slot))
    }

    pub(crate) fn give_back(&mut self, progress: Progress) {
        self.freed.push(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_zero_when_taken_again() {
        let mut board = Scoreboard::new(1).unwrap();
        let slot = board.take().unwrap();
        assert!(board.take().is_none());
        slot.received(5);
        slot.sent(6);
        let at = SystemTime::now();
        slot.done(at);
        slot.lingers();
        assert_eq!(slot.octets(), (5, 6));
        assert_eq!(slot.done_at(), Some(at));
        board.give_back(slot);
        let again = board.take().unwrap();
        assert_eq!(again.octets(), (0, 0));
        assert!(again.done_at().is_none() && !again.is_lingering());
    }
}
