//! A letter that is in its Maildir.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Error, Result};
use crate::maildir::parts::Parts;

/// A delivered letter.
#[derive(Debug)]
pub struct Published {
    pub(super) parts: Arc<Parts>,
    pub(super) name: OsString,
}

impl Published {
    /// Returns its path, valid until another program moves it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.parts.new.path().join(&self.name)
    }

    /// Takes the letter back where its folders could not be synced: it may not be durable, so it must not be visible
    /// either.
    pub(super) fn if_durable(self, synced: Result<()>) -> Result<Published> {
        match synced {
            Ok(()) => Ok(self),
            Err(error) => {
                let _ = self.retract(); // best effort
                Err(error)
            }
        }
    }

    /// Removes the letter, because its delivery failed for another recipient. Finds it even if a
    /// reader has moved it to `cur`.
    ///
    /// # Errors
    /// [`Error::Io`] if it exists and cannot be removed.
    pub fn retract(self) -> Result<()> {
        let new = &self.parts.new;
        match unlinkat(new, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => return new.sync(),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Error::io("unlink", &self.path())(errno)),
        }
        if let Some(name) = self.parts.find_in_cur(&self.name)? {
            let cur = self.parts.folder.enter(OsStr::new("cur"))?;
            let removed = unlinkat(&cur, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            removed.map_err(Error::io("unlink", &cur.path().join(name)))?;
            return cur.sync();
        }
        Ok(())
    }
}
