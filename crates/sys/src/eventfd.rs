//! eventfd(2): a wakeup for a process that waits in poll.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Readable once notified, until drained.
#[derive(Debug)]
pub struct Wakeup(EventFd);

impl Wakeup {
    /// A descriptor that does not block and is closed on exec.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> nix::Result<Wakeup> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        EventFd::from_flags(flags).map(Wakeup)
    }

    /// Makes it readable. Never blocks.
    pub fn notify(&self) {
        let _ = self.0.write(1); // EAGAIN: it has been notified very often already
    }

    /// Makes it unreadable.
    pub fn drain(&self) {
        let _ = self.0.read(); // EAGAIN: it was not notified
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
