//! A session's counters in shared memory, which its parent reads.

use sys::fork::OneTask;
use sys::shared_memory::{Layout, Lines, WORDS};

/// Indexes of the numbers of a line; from [`OWN`] on they belong to the protocol.
const RECEIVED: usize = 0;
const SENT: usize = 1;
const OWN: usize = 2;

/// The line of one session in memory that it shares with its parent. The parent trusts no number in
/// it, see [`sys::shared_memory`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// `None` counts nothing.
    lines: Option<&'static Lines>,
    line: usize,
}

impl Counters {
    pub(crate) fn new(lines: &'static Lines, line: usize) -> Counters {
        Counters { lines: Some(lines), line }
    }

    /// Returns counters for a process without a parent, and for its later children.
    pub(crate) fn unshared() -> Counters {
        Counters { lines: Lines::new(1, Layout::Packed).ok(), line: 0 }
    }

    /// Returns counters of this process alone, without a mapping of their own.
    pub(crate) fn private() -> Counters {
        Counters { lines: Some(Lines::private()), line: 0 }
    }

    /// Counts bytes from the client.
    pub fn received(&self, bytes: usize) {
        self.add(RECEIVED, bytes as u64);
    }

    /// Counts bytes to the client.
    pub fn sent(&self, bytes: usize) {
        self.add(SENT, bytes as u64);
    }

    /// Returns the bytes received and sent.
    pub(crate) fn bytes(self) -> (u64, u64) {
        (self.load(RECEIVED), self.load(SENT))
    }

    /// Returns a number of the protocol (index 0 to 5), zero at first. It is untrusted input from
    /// the child.
    #[must_use]
    pub fn number(&self, index: usize) -> u64 {
        self.load(OWN + index)
    }

    /// Writes a number of the protocol.
    pub fn set_number(&self, index: usize, number: u64) {
        if let Some(lines) = self.lines {
            lines.store(self.line, OWN + index, number);
        }
    }

    /// Returns a number of the protocol and sets it to 0.
    #[must_use]
    pub fn take_number(&self, index: usize) -> u64 {
        match self.lines {
            // A 0 is only read, because a write would take the cache line from other processes.
            Some(lines) if self.number(index) != 0 => lines.swap(self.line, OWN + index, 0),
            _ => 0,
        }
    }

    /// Sets the bytes received and sent to zero.
    pub(crate) fn reset_bytes(self) {
        if let Some(lines) = self.lines {
            [RECEIVED, SENT].into_iter().for_each(|word| lines.store(self.line, word, 0));
        }
    }

    /// Sets all numbers of the line to zero.
    pub(crate) fn reset(self) {
        if let Some(lines) = self.lines {
            (0..WORDS).for_each(|word| lines.store(self.line, word, 0));
        }
    }

    /// Unmaps the lines of others, in a child whose lines have a page each.
    pub(crate) fn keep_only(self, alone: OneTask) -> nix::Result<()> {
        self.lines.map_or(Ok(()), |lines| lines.keep_only(self.line, alone))
    }

    /// Unmaps all lines, in a child that needs none.
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
