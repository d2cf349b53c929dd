//! What the parent writes to for every client, in one page.
//!
//! After a fork each page that parent or child writes to is copied first, at 2 µs or so a page, more
//! than most system calls take. So these things lie together, on a page of their own.

use std::sync::Mutex;

use crate::lines::Lines;
use crate::reaper::Noted;

/// The page.
#[repr(C, align(4096))]
pub(crate) struct Ledger {
    /// Who has ended, as the SIGCHLD handler notes it.
    pub(crate) ended: Noted,
    /// Lines of the log that are not written yet.
    pub(crate) lines: Mutex<Lines>,
}

const _: () = assert!(size_of::<Ledger>() == 4096, "the ledger is a page");

/// That of this process.
pub(crate) static LEDGER: Ledger =
    Ledger { ended: Noted::nobody(), lines: Mutex::new(Lines::none()) };
