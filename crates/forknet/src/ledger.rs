//! What the parent writes to for every client.
//!
//! After a fork each page that parent or child writes to is copied first, at 2 µs or so a page, more
//! than most system calls take. So these things lie in memory that is shared with the children, which
//! is never copied, and no child touches them: what a child has to log, it puts on a page of its own.

use std::cell::Cell;
use std::sync::{Mutex, OnceLock};

use crate::error::Result;
use crate::lines::Lines;
use crate::reaper::Noted;
use crate::shared;

/// The page.
#[repr(C)]
pub(crate) struct Ledger {
    /// Who has ended, as the SIGCHLD handler notes it.
    pub(crate) ended: Noted,
    /// Lines of the log that are not written yet.
    pub(crate) lines: Mutex<Lines>,
}

/// Alone on its page: a child that logs copies one.
#[repr(C, align(4096))]
struct Page(Ledger);

const _: () = assert!(size_of::<Page>() == 4096, "the ledger is a page");

/// That of a process which has none in shared memory: before it serves, or a child's.
static OWN: Page = Page(Ledger { ended: Noted::nobody(), lines: Mutex::new(Lines::none()) });
/// That of a parent, once it serves.
static PARENTS: OnceLock<&'static Ledger> = OnceLock::new();

thread_local! {
    /// This process was forked by one that serves.
    static IS_CHILD: Cell<bool> = const { Cell::new(false) };
}

/// That of this process.
pub(crate) fn ledger() -> &'static Ledger {
    match PARENTS.get() {
        Some(ledger) if !IS_CHILD.get() => ledger,
        _ => &OWN.0,
    }
}

/// For a parent that is about to serve, and has no lines that wait: from now on its ledger is in
/// shared memory.
pub(crate) fn share() -> Result<()> {
    if PARENTS.get().is_none() {
        let lines = Mutex::new(ledger().lines.lock().map_or_else(|_| Lines::none(), |l| l.anew()));
        // SAFETY: no child touches it: a child calls `of_a_child` before anything that asks for a
        // ledger.
        let ledger = unsafe { shared::place(Ledger { ended: Noted::nobody(), lines }) }?;
        PARENTS.get_or_init(|| ledger);
    }
    Ok(())
}

/// First thing in a child: the ledger is its parent's.
pub(crate) fn of_a_child() {
    IS_CHILD.set(true);
}

/// True in a child of a process that serves.
pub(crate) fn is_childs() -> bool {
    IS_CHILD.get()
}
