//! What a session has received and sent, in numbers that its parent reads.

use sys::fork::OneTask;
use sys::shared_memory::{Layout, Lines, WORDS};

/// Indexes of the numbers of a line that every session has; from [`OWN`] on they are the protocol's own.
const RECEIVED: usize = 0;
const SENT: usize = 1;
const OWN: usize = 2;

/// The numbers of one session's line in memory that it shares with its parent. The parent trusts none
/// of them: see [`sys::shared_memory`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Without one nothing is counted.
    lines: Option<&'static Lines>,
    line: usize,
}

impl Counters {
    pub(crate) fn new(lines: &'static Lines, line: usize) -> Counters {
        Counters { lines: Some(lines), line }
    }

    /// For a process that has no parent to report to.
    pub(crate) fn unshared() -> Counters {
        Counters { lines: Lines::new(1, Layout::Packed).ok(), line: 0 }
    }

    /// Counts bytes that came from the client.
    pub fn received(&self, bytes: usize) {
        self.add(RECEIVED, bytes as u64);
    }

    /// Counts bytes that go to the client.
    pub fn sent(&self, bytes: usize) {
        self.add(SENT, bytes as u64);
    }

    /// Bytes received and sent.
    pub(crate) fn bytes(self) -> (u64, u64) {
        (self.load(RECEIVED), self.load(SENT))
    }

    /// A number of the protocol's own, 0 to 5, zero at first. What a child has written there may be
    /// anything.
    #[must_use]
    pub fn number(&self, index: usize) -> u64 {
        self.load(OWN + index)
    }

    /// Writes a number of the protocol's own.
    pub fn set_number(&self, index: usize, number: u64) {
        if let Some(lines) = self.lines {
            lines.store(self.line, OWN + index, number);
        }
    }

    /// Takes a number of the protocol's own away; it is 0 then.
    #[must_use]
    pub fn take_number(&self, index: usize) -> u64 {
        match self.lines {
            // A number that is 0 is only read: other processes need not hear of it.
            Some(lines) if self.number(index) != 0 => lines.swap(self.line, OWN + index, 0),
            _ => 0,
        }
    }

    /// Nothing was received or sent yet.
    pub(crate) fn reset_bytes(self) {
        if let Some(lines) = self.lines {
            [RECEIVED, SENT].into_iter().for_each(|word| lines.store(self.line, word, 0));
        }
    }

    /// All numbers of the line become zero.
    pub(crate) fn reset(self) {
        if let Some(lines) = self.lines {
            (0..WORDS).for_each(|word| lines.store(self.line, word, 0));
        }
    }

    /// In a child, where the lines have a page each: gives up those of others.
    pub(crate) fn keep_only(self, alone: OneTask) -> nix::Result<()> {
        self.lines.map_or(Ok(()), |lines| lines.keep_only(self.line, alone))
    }

    /// In a child that has no business with these numbers nor with those of the other lines: gives up all.
    pub(crate) fn unmap_all(self, alone: OneTask) -> nix::Result<()> {
        self.lines.map_or(Ok(()), |lines| lines.unmap_all(alone))
    }

    fn add(self, word: usize, number: u64) {
        if let Some(lines) = self.lines {
            lines.add(self.line, word, number);
        }
    }

    fn load(self, word: usize) -> u64 {
        self.lines.map_or(0, |lines| lines.load(self.line, word))
    }
}
