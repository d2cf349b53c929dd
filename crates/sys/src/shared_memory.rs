//! Memory that a process shares with its children: mmap(2) with MAP_SHARED.
//!
//! It holds lines of numbers and nothing else, neither a pointer nor a lock. What a child has
//! written there is untrusted input: any number may be in any place.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::fork::OneTask;

/// Numbers of a line.
pub const WORDS: usize = 8;
/// A page of memory, in bytes.
const PAGE: usize = 4096;

/// The numbers of one line. It is as long as a cache line, so that two processes that count do not
/// slow each other down.
#[repr(C, align(64))]
struct Line([AtomicU64; WORDS]);

/// How the lines lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Consecutive; every process has all of them.
    Packed,
    /// One page each; a process can unmap all but its own ([`Lines::keep_only`]).
    Paged,
}

/// Lines of numbers, zero at first, for this process and its later children. Pages are allocated as
/// they are used.
pub struct Lines {
    place: NonNull<u8>,
    count: usize,
    /// Bytes from one line to the next.
    stride: usize,
    /// They lie in pages of their own.
    is_mapped: bool,
}

// SAFETY: the numbers are atomic, and nothing else changes.
unsafe impl Sync for Lines {}
// SAFETY: the mapping belongs to the process and not to a thread.
unsafe impl Send for Lines {}

impl Lines {
    /// Maps this many lines, until the process ends.
    ///
    /// # Errors
    /// ENOMEM; EINVAL for a count of 0.
    pub fn new(count: usize, layout: Layout) -> nix::Result<&'static Lines> {
        let stride = match layout {
            Layout::Packed => size_of::<Line>(),
            Layout::Paged => PAGE,
        };
        let bytes = count.checked_mul(stride).ok_or(Errno::ENOMEM)?;
        let bytes = NonZeroUsize::new(bytes.next_multiple_of(PAGE)).ok_or(Errno::EINVAL)?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping overlaps nothing.
        let place = unsafe { mmap_anonymous(None, bytes, rights, flags)? }.cast();
        Ok(Box::leak(Box::new(Lines { place, count, stride, is_mapped: true })))
    }

    /// Makes one line in ordinary memory, for a process that shares it with no other. It is never unmapped.
    #[must_use]
    pub fn private() -> &'static Lines {
        let line: &'static Line = Box::leak(Box::new(Line(Default::default())));
        let (place, count, stride) = (NonNull::from(line).cast(), 1, size_of::<Line>());
        Box::leak(Box::new(Lines { place, count, stride, is_mapped: false }))
    }

    /// Returns the number of lines.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Unmaps all lines but one, in a child that does not need the others. In their place are zeros from then on, numbers
    /// of this process alone.
    ///
    /// # Errors
    /// EINVAL if there is no such line, or the lines are packed; those of mmap(2).
    pub fn keep_only(&self, number: usize, alone: OneTask) -> nix::Result<()> {
        if number >= self.count || self.stride < PAGE {
            return Err(Errno::EINVAL);
        }
        self.unmap(0..number, alone)?;
        self.unmap(number + 1..self.count, alone)
    }

    /// Unmaps all lines, in a child that needs none. In their place are zeros from then on, numbers of this process alone.
    ///
    /// # Errors
    /// EINVAL if the lines are in ordinary memory; those of mmap(2).
    pub fn unmap_all(&self, alone: OneTask) -> nix::Result<()> {
        if !self.is_mapped {
            return Err(Errno::EINVAL);
        }
        self.unmap(0..self.count, alone)
    }

    /// Maps private zeros in the place of these lines, so that no access has to ask which are left: a child that kept a note
    /// of that would copy a page for it.
    fn unmap(&self, Range { start, end }: Range<usize>, _: OneTask) -> nix::Result<()> {
        let bytes = ((end - start) * self.stride).next_multiple_of(PAGE);
        let place = self.place.as_ptr().wrapping_add(start * self.stride);
        let (Some(bytes), Some(place)) =
            (NonZeroUsize::new(bytes), NonZeroUsize::new(place.expose_provenance()))
        else {
            return Ok(());
        };
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_FIXED;
        // SAFETY: whole pages of this mapping, which is never unmapped and stays readable and writable; only numbers lie
        // there, and any bytes are numbers; there is one task, so no other is in the middle of an access.
        unsafe { mmap_anonymous(Some(place), bytes, rights, flags)? };
        Ok(())
    }

    /// Returns the number there; 0 where there is none.
    #[must_use]
    pub fn load(&self, line: usize, word: usize) -> u64 {
        self.word(line, word).map_or(0, |word| word.load(SeqCst))
    }

    /// Writes a number.
    pub fn store(&self, line: usize, word: usize, number: u64) {
        if let Some(word) = self.word(line, word) {
            word.store(number, SeqCst);
        }
    }

    /// Adds to a number; it wraps around.
    pub fn add(&self, line: usize, word: usize, number: u64) {
        if let Some(word) = self.word(line, word) {
            word.fetch_add(number, SeqCst);
        }
    }

    /// Writes a number; returns the old one.
    #[must_use]
    pub fn swap(&self, line: usize, word: usize, number: u64) -> u64 {
        self.word(line, word).map_or(0, |word| word.swap(number, SeqCst))
    }

    /// Returns a word for one access; the reference must not be kept.
    fn word(&self, line: usize, word: usize) -> Option<&AtomicU64> {
        if line >= self.count {
            return None;
        }
        let place = self.place.as_ptr().wrapping_add(line * self.stride).cast::<Line>();
        // SAFETY: within the mapping, which is never unmapped; aligned, because a stride is a multiple of a line; any bytes
        // are an AtomicU64.
        unsafe { &*place }.0.get(word)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines of {} bytes", self.count, self.stride)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;
    use crate::fork::{Fork, exit_now, fork_among_threads, one_task};

    #[test]
    fn unmapped_lines_are_zeros_of_the_child_alone() {
        let lines = Lines::new(3, Layout::Paged).unwrap();
        (0..3).for_each(|line| lines.store(line, 0, 5));
        let Fork::Parent(child) = fork_among_threads().unwrap() else {
            let is_done = lines.keep_only(1, one_task()).is_ok();
            let seen = [0, 1, 2].map(|line| lines.load(line, 0)) == [0, 5, 0];
            (0..3).for_each(|line| lines.store(line, 0, 7));
            let is_over = lines.unmap_all(one_task()).is_ok() && lines.load(1, 0) == 0;
            exit_now(i32::from(is_done && seen && is_over));
        };
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 1));
        assert_eq!([0, 1, 2].map(|line| lines.load(line, 0)), [5, 7, 5]);
    }

    #[test]
    fn lines_are_separate_and_missing_numbers_are_zero() {
        for layout in [Layout::Packed, Layout::Paged] {
            let lines = Lines::new(3, layout).unwrap();
            lines.add(1, 7, 5);
            lines.add(1, 7, 5);
            lines.store(2, 0, u64::MAX);
            lines.add(3, 0, 1);
            lines.add(0, WORDS, 1);
            assert_eq!((lines.load(1, 7), lines.load(2, 0), lines.load(0, 0)), (10, u64::MAX, 0));
            assert_eq!((lines.load(3, 0), lines.load(0, WORDS)), (0, 0));
            assert_eq!((lines.swap(1, 7, 1), lines.load(1, 7)), (10, 1));
        }
        assert_eq!(Lines::new(0, Layout::Packed).unwrap_err(), Errno::EINVAL);
        assert_eq!(Lines::new(usize::MAX, Layout::Paged).unwrap_err(), Errno::ENOMEM);
    }
}
