//! Which process this is: the one that made some memory, or a child of it.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// Numbers given so far, to this process and those before it.
static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where this process's number stands; the kernel wipes it out in each child (MADV_WIPEONFORK), which
/// so need not write to a page, and cannot forget to.
static NUMBER: OnceLock<Number> = OnceLock::new();

struct Number(NonNull<AtomicU32>);

// SAFETY: the mapping lasts as long as the process, and an atomic may be used from every thread.
unsafe impl Send for Number {}
// SAFETY: as above.
unsafe impl Sync for Number {}

impl Number {
    /// 0, in a page of its own.
    fn new() -> nix::Result<Number> {
        let one = NonZeroUsize::MIN; // byte; the kernel makes it a page
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping overlaps nothing.
        let place = unsafe { mmap_anonymous(None, one, rights, MapFlags::MAP_PRIVATE)? };
        // SAFETY: all of the mapping made just now; its contents stay as they are.
        unsafe { madvise(place, one.get(), MmapAdvise::MADV_WIPEONFORK)? };
        Ok(Number(place.cast()))
    }

    fn get(&self) -> &AtomicU32 {
        // SAFETY: `new` has mapped zeroed, aligned memory there, which is never unmapped.
        unsafe { self.0.as_ref() }
    }
}

thread_local! {
    /// References of this thread's to memory that a child would not have.
    static BORROWED: Cell<usize> = const { Cell::new(0) };
}

/// A number that no process before this one has had; the same one each time.
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
        let _ = number.compare_exchange(0, next, Relaxed, Relaxed); // another thread was quicker
    }
    Ok(number.load(Relaxed))
}

/// Returns true in the process that this number was given to, false in its children.
pub(crate) fn is_own(number: u32) -> bool {
    NUMBER.get().is_some_and(|its| its.get().load(Relaxed) == number)
}

/// While this lives there is a reference to memory that a child would not have, and fork(2) is refused.
pub(crate) struct Borrow(());

impl Borrow {
    pub(crate) fn new() -> Borrow {
        BORROWED.set(BORROWED.get() + 1);
        Borrow(())
    }

    /// Returns true while this thread has one.
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
    fn a_child_has_no_number_until_it_takes_one_that_none_of_its_ancestors_has_had() {
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
