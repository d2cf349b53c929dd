//! Which process this is: the first of the program, or one that it has forked.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counts the forks between the first process of the program and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// References of this thread's to memory that a child would not have.
    static BORROWED: Cell<usize> = const { Cell::new(0) };
}

/// A number that a process shares with none of its children: what was made under another one is
/// the parent's.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Relaxed)
}

/// First thing in a child.
pub(crate) fn is_child() {
    GENERATION.fetch_add(1, Relaxed);
}

/// While this lives there is a reference to memory that a child would not have, and fork(2) is refused.
pub(crate) struct Borrow(());

impl Borrow {
    pub(crate) fn new() -> Borrow {
        BORROWED.set(BORROWED.get() + 1);
        Borrow(())
    }

    /// True while this thread has one.
    pub(crate) fn is_out() -> bool {
        BORROWED.get() > 0
    }
}

impl Drop for Borrow {
    fn drop(&mut self) {
        BORROWED.set(BORROWED.get() - 1);
    }
}
