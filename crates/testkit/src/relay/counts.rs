//! What a relay has done so far.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What a relay has done so far, in datagrams that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that came.
    pub came: u64,
    /// Those of them that were lost by the script.
    pub lost: u64,
    /// Those that arrived more than once.
    pub doubled: u64,
    /// Copies that were held back for a while.
    pub late: u64,
}

/// The same while the relay is at work.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    pub(super) came: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) doubled: AtomicU64,
    pub(super) late: AtomicU64,
}

impl Shared {
    /// Returns the counts as they are now.
    pub(super) fn counts(&self) -> Counts {
        let Shared { came, lost, doubled, late, .. } = self;
        let [came, lost, doubled, late] = [came, lost, doubled, late].map(|n| n.load(Relaxed));
        Counts { came, lost, doubled, late }
    }
}
