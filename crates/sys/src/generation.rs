//! Tells a process from its children, by a number that a child does not inherit.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// The last number given, to this process or an ancestor.
static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// This process's number. The kernel zeroes it in each child (MADV_WIPEONFORK), so that the child
/// need not write to a page.
static NUMBER: OnceLock<Number> = OnceLock::new();

struct Number(NonNull<AtomicU32>);

// SAFETY: the mapping lasts as long as the process, and an atomic may be used from every thread.
unsafe impl Send for Number {}
// SAFETY: as above.
unsafe impl Sync for Number {}

impl Number {
    /// Maps a page with the number 0.
    fn new() -> nix::Result<Number> {
        let one = NonZeroUsize::MIN; // byte; the kernel maps a page
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping overlaps nothing.
        let place = unsafe { mmap_anonymous(None, one, rights, MapFlags::MAP_PRIVATE)? };
        // SAFETY: the whole new mapping; its contents do not change.
        unsafe { madvise(place, one.get(), MmapAdvise::MADV_WIPEONFORK)? };
        Ok(Number(place.cast()))
    }

    fn get(&self) -> &AtomicU32 {
        // SAFETY: `new` has mapped zeroed, aligned memory there, which is never unmapped.
        unsafe { self.0.as_ref() }
    }
}

thread_local! {
    /// References that this thread has to memory that a child does not inherit.
    static BORROWED: Cell<usize> = const { Cell::new(0) };
}

/// Returns this process's number, which no ancestor has had.
///
/// # Errors
/// ENOMEM; EINVAL from a kernel without MADV_WIPEONFORK, which came with Linux 4.14.
pub(crate) fn take_number() -> nix::Result<u32> {
    if NUMBER.get().is_none() {
        let number = Number::new()?;
        NUMBER.get_or_init(|| number);
    }
    let Some(number) = NUMBER.get().map(Number::get) else { return Err(nix::errno::Errno::ENOMEM) };
    if number.load(Relaxed) == 0 {
        let next = LAST_NUMBER.fetch_add(1, Relaxed) + 1;
        let _ = number.compare_exchange(0, next, Relaxed, Relaxed); // another thread has set it
    }
    Ok(number.load(Relaxed))
}

/// Returns true in the process with this number, false in its children.
pub(crate) fn is_own(number: u32) -> bool {
    NUMBER.get().is_some_and(|its| its.get().load(Relaxed) == number)
}

/// A reference to memory that a child does not inherit. While it exists, fork(2) is refused.
pub(crate) struct Borrow(());

impl Borrow {
    pub(crate) fn new() -> Borrow {
        BORROWED.set(BORROWED.get() + 1);
        Borrow(())
    }

    pub(crate) fn is_active() -> bool {
        BORROWED.get() > 0
    }
}

impl Drop for Borrow {
    fn drop(&mut self) {
        BORROWED.set(BORROWED.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{Fork, exit_now, fork_among_threads};
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn a_child_takes_a_number_that_no_ancestor_has_had() {
        let parents = take_number().unwrap();
        assert!(is_own(parents) && take_number() == Ok(parents));
        let Fork::Parent(child) = fork_among_threads().unwrap() else {
            let was_none = !is_own(parents);
            let its = take_number().unwrap();
            exit_now(i32::from(!(was_none && its > parents && is_own(its))));
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        assert!(is_own(parents));
    }
}
