//! Memory that a child of fork(2) does not inherit: mmap(2) and madvise(2) with MADV_DONTFORK.
//!
//! A child that is taken over can neither read nor change what its parent keeps here, and a write
//! of the parent after a fork copies no page.
//!
//! In a child the addresses are not mapped, so every access checks first whether this process made
//! the memory (`generation.rs`). In a child everything is empty.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::generation::{Borrow, is_own, take_number};

/// A private mapping that no child inherits. Pages are allocated when they are touched.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) place: NonNull<u8>,
    bytes: NonZeroUsize,
    /// The number of the process that made it.
    number: u32,
}

impl Mapping {
    /// Maps at least `bytes` zeroed bytes, at the start of a page.
    pub(crate) fn new(bytes: usize) -> nix::Result<Mapping> {
        let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let number = take_number()?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping overlaps nothing.
        let place = unsafe { mmap_anonymous(None, bytes, rights, flags)? };
        let mapping = Mapping { place: place.cast(), bytes, number };
        // SAFETY: the whole new mapping; its contents do not change.
        unsafe { madvise(place, bytes.get(), MmapAdvise::MADV_DONTFORK)? };
        Ok(mapping)
    }

    /// Returns true in the process that made it.
    pub(crate) fn is_owner(&self) -> bool {
        is_own(self.number)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.is_owner() {
            // SAFETY: this value alone owns the mapping, and its owner lends out no reference that
            // outlives it. In a child it does not exist, and is not unmapped.
            let _ = unsafe { munmap(self.place.cast(), self.bytes.get()) };
        }
    }
}

/// A value that no child inherits.
pub struct Private<T> {
    mapping: Mapping,
    value: PhantomData<T>,
}

// SAFETY: it lends `&T` only, which `T: Sync` allows from every thread; the mapping belongs to the
// process and not to a thread.
unsafe impl<T: Sync> Sync for Private<T> {}
// SAFETY: as above; the value is never dropped, so the thread that drops the mapping touches no `T`.
unsafe impl<T: Sync> Send for Private<T> {}

impl<T> Private<T> {
    /// Moves a value into private memory. It is never dropped.
    ///
    /// # Errors
    /// ENOMEM; EINVAL from a kernel without MADV_WIPEONFORK (before 4.14).
    pub fn new(value: T) -> nix::Result<Private<T>> {
        const { assert!(align_of::<T>() <= 4096, "a mapping begins at a page") };
        let mapping = Mapping::new(size_of::<T>().max(1))?;
        // SAFETY: enough bytes, page-aligned, that nothing else refers to.
        unsafe { mapping.place.cast::<T>().write(value) };
        Ok(Private { mapping, value: PhantomData })
    }

    /// Calls `look` with the value; returns `None` in a child. [`fork`](crate::fork::fork) fails
    /// meanwhile.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        if !self.mapping.is_owner() {
            return None;
        }
        let _borrow = Borrow::new();
        // SAFETY: `new` has written a `T` there, which is never moved or dropped; only shared
        // references are made. This process has the mapping, also while the reference lives,
        // because fork(2) is refused until `_borrow` is dropped.
        Some(look(unsafe { self.mapping.place.cast::<T>().as_ref() }))
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private")
    }
}

/// A vector of fixed capacity that no child inherits: a child sees it empty.
#[derive(Debug)]
pub struct Table<T> {
    mapping: Mapping,
    room: usize,
    length: usize,
    value: PhantomData<T>,
}

/// Types for which zero bytes are a value.
///
/// # Safety
/// Zero bytes are a value of the type.
pub unsafe trait Zero: Copy {}
// SAFETY: numbers.
unsafe impl Zero for u32 {}
// SAFETY: numbers.
unsafe impl Zero for i32 {}
// SAFETY: numbers.
unsafe impl Zero for u64 {}

impl<T: Copy> Table<T> {
    /// Makes an empty table of this capacity. Memory is allocated as values are added.
    ///
    /// # Errors
    /// ENOMEM; EINVAL for a capacity of 0.
    pub fn with_room(room: usize) -> nix::Result<Table<T>> {
        const { assert!(align_of::<T>() <= 4096, "a mapping begins at a page") };
        let bytes = room.checked_mul(size_of::<T>()).ok_or(Errno::ENOMEM)?;
        Ok(Table { mapping: Mapping::new(bytes)?, room, length: 0, value: PhantomData })
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.mapping.is_owner() { self.length } else { 0 }
    }

    /// Returns true without values, and always in a child.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the capacity.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Returns the value at this index.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<T> {
        // SAFETY: `place` is within the mapping, at a value that `push`, `set` or `zeroed` has written.
        (number < self.len()).then(|| unsafe { self.place(number).read() })
    }

    /// Changes the value at this index; returns false if there is none.
    pub fn set(&mut self, number: usize, value: T) -> bool {
        let is_there = number < self.len();
        if is_there {
            // SAFETY: within the mapping, which `&mut self` gives this caller alone.
            unsafe { self.place(number).write(value) };
        }
        is_there
    }

    /// Appends a value; returns its index, or `None` if the table is full.
    pub fn push(&mut self, value: T) -> Option<usize> {
        let number = self.length;
        if !self.mapping.is_owner() || number == self.room {
            return None;
        }
        self.length += 1;
        self.set(number, value).then_some(number)
    }

    /// Removes and returns the last value.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.get(self.len().checked_sub(1)?);
        self.length -= usize::from(last.is_some());
        last
    }

    /// Iterates over the values.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        (0..self.len()).filter_map(|number| self.get(number))
    }

    fn place(&self, number: usize) -> *mut T {
        self.mapping.place.cast::<T>().as_ptr().wrapping_add(number)
    }
}

impl<T: Zero> Table<T> {
    /// Makes a table of this many zeros. Memory is allocated as they change.
    ///
    /// # Errors
    /// As [`Table::with_room`].
    pub fn zeroed(length: usize) -> nix::Result<Table<T>> {
        Ok(Table { length, ..Table::with_room(length)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn values_are_kept_in_order_up_to_the_capacity() {
        let mut table = Table::with_room(2).unwrap();
        assert!(table.is_empty() && table.pop().is_none() && table.get(0).is_none());
        assert_eq!((table.push('a'), table.push('b'), table.push('c')), (Some(0), Some(1), None));
        assert!(table.set(0, 'x') && !table.set(2, 'x'));
        assert_eq!(table.iter().collect::<String>(), "xb");
        assert_eq!((table.pop(), table.len(), table.get(1)), (Some('b'), 1, None));
        let zeros: Table<u32> = Table::zeroed(1000).unwrap();
        assert!(zeros.len() == 1000 && zeros.iter().all(|zero| zero == 0));
        assert_eq!(Table::<u64>::with_room(usize::MAX).unwrap_err(), Errno::ENOMEM);
    }

    #[test]
    fn the_memory_is_marked_as_not_inherited() {
        let private = Private::new(Mutex::new(7)).unwrap();
        let address = private.mapping.place.as_ptr().addr();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let hex = |text: Option<&str>| usize::from_str_radix(text?, 16).ok();
        // Adjacent mappings of one kind are listed as one.
        let contains = |line: &&str| {
            let mut ends = line.split([' ', '-']);
            let (start, end) = (hex(ends.next()), hex(ends.next()));
            start.zip(end).is_some_and(|(start, end)| (start..end).contains(&address))
        };
        let lines = smaps.lines().skip_while(|line| !contains(line));
        let flags = lines.skip(1).find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split_whitespace().any(|flag| flag == "dc"), "{flags}");
        assert_eq!(private.with(|value| *value.lock().unwrap()), Some(7));
    }
}
