//! The folders of a queue.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fstatat};

use crate::error::{Error, Result};
use crate::folder::Folder;

/// Mode of all files: only the owner has access.
pub(super) const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// The names of the folders.
pub(super) const TMP: &str = "tmp";
pub(super) const LETTERS: &str = "letters";
pub(super) const STATE: &str = "state";
pub(super) const HOLD: &str = "hold";

/// What stands between a letter's name and the number of a notification about it.
pub(super) const NOTICE_DOT: u8 = b'.';

/// A queue's folder and those in it. Where only `letters` is there, the letters can be listed.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) folder: Folder,
    pub(super) letters: Folder,
    pub(super) tmp: Option<Folder>,
    pub(super) state: Option<Folder>,
    pub(super) hold: Option<Folder>,
}

impl Parts {
    /// Returns `tmp`.
    ///
    /// # Errors
    /// [`Error::Io`]: it was not there when the queue was opened. The same for the others.
    pub(super) fn tmp(&self) -> Result<&Folder> {
        self.tmp.as_ref().ok_or_else(|| self.missing(TMP))
    }

    /// Returns `state`.
    pub(super) fn state(&self) -> Result<&Folder> {
        self.state.as_ref().ok_or_else(|| self.missing(STATE))
    }

    /// Returns `hold`.
    pub(super) fn hold(&self) -> Result<&Folder> {
        self.hold.as_ref().ok_or_else(|| self.missing(HOLD))
    }

    /// Returns the path of a folder, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns whether a file of `tmp` is a notification about a letter that is there.
    pub(super) fn is_awaited(&self, name: &[u8]) -> bool {
        let at = name.iter().rposition(|&byte| byte == NOTICE_DOT);
        let letter = at.and_then(|at| name.get(..at));
        let is_there = |it: &[u8]| fstatat(&self.letters, it, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        letter.is_some_and(is_there)
    }

    fn missing(&self, name: &str) -> Error {
        Error::io("open", &self.path(name))(Errno::ENOENT)
    }
}
