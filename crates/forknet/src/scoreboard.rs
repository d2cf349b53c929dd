//! A page or two of memory that parent and children share: a child writes what it has done, the
//! parent reads it when it logs. Nobody waits for anybody.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::error::{Error, Result};

/// One client's line on the scoreboard.
#[derive(Debug, Default)]
#[repr(C)]
struct Slot {
    received: AtomicU64,
    sent: AtomicU64,
    /// When the first octets went to the client, in nanoseconds since 1970; 0 before that.
    answered: AtomicU64,
    done: AtomicBool,
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

    /// Counts octets that go to the client; to be called before they go.
    pub fn sent(&self, octets: usize) {
        if self.0.answered.load(Relaxed) == 0 {
            self.0.answered.store(now(), Relaxed);
        }
        self.0.sent.fetch_add(octets as u64, Relaxed);
    }

    /// The work asked for is complete. For datagrams: the same request from the same peer is a new
    /// one from now on, not one that was sent again.
    pub fn done(&self) {
        self.0.done.store(true, Relaxed);
    }

    pub(crate) fn is_done(self) -> bool {
        self.0.done.load(Relaxed)
    }

    /// The child has nothing left to do but to stay in case its last words were lost: it may be
    /// ended when its place is wanted.
    pub fn lingers(&self) {
        self.0.lingers.store(true, Relaxed);
    }

    pub(crate) fn is_lingering(self) -> bool {
        self.0.lingers.load(Relaxed)
    }

    /// True when the client may have had an answer at `time`, in nanoseconds since 1970.
    pub(crate) fn was_answered_at(self, time: u64) -> bool {
        let answered = self.0.answered.load(Relaxed);
        answered != 0 && answered <= time
    }

    /// Octets received and sent so far.
    pub(crate) fn octets(self) -> (u64, u64) {
        (self.0.received.load(Relaxed), self.0.sent.load(Relaxed))
    }

    fn reset(self) {
        self.0.received.store(0, Relaxed);
        self.0.sent.store(0, Relaxed);
        self.0.answered.store(0, Relaxed);
        self.0.done.store(false, Relaxed);
        self.0.lingers.store(false, Relaxed);
    }

    /// For a process that has no parent to report to.
    pub(crate) fn unshared() -> Progress {
        Progress(Box::leak(Box::default()))
    }
}

/// Nanoseconds since 1970, as the kernel stamps datagrams.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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
        let before = now();
        slot.sent(6);
        slot.done();
        slot.lingers();
        assert_eq!(slot.octets(), (5, 6));
        assert!(slot.was_answered_at(now()) && !slot.was_answered_at(before - 1));
        board.give_back(slot);
        let again = board.take().unwrap();
        assert_eq!(again.octets(), (0, 0));
        assert!(!again.is_done() && !again.is_lingering() && !again.was_answered_at(now()));
    }
}
