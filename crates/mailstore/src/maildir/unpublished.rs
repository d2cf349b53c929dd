//! A letter that is not in its Maildir yet.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::maildir::parts::Parts;

/// The file in `tmp`, removed on drop.
#[derive(Debug)]
pub(super) struct Unpublished {
    pub(super) parts: Arc<Parts>,
    pub(super) base: OsString,
}

impl Unpublished {
    /// For messages.
    pub(super) fn path(&self) -> PathBuf {
        self.parts.tmp.path().join(&self.base)
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        // Fails if the letter was published by rename. A file that cannot be removed is swept after
        // 36 hours.
        let _ = unlinkat(&self.parts.tmp, self.base.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}
