//! A bell that workers and threads ring for the parent, which waits in ppoll.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, Result};

/// An eventfd(2): readable once rung, until heard.
#[derive(Debug)]
pub(crate) struct Bell(EventFd);

impl Bell {
    pub(crate) fn new() -> Result<Bell> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        EventFd::from_flags(flags).map(Bell).map_err(Error::os("eventfd"))
    }

    /// Never blocks; a bell that rings already goes on ringing.
    pub(crate) fn ring(&self) {
        let _rings_already = self.0.write(1);
    }

    pub(crate) fn heard(&self) {
        let _was_quiet = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
