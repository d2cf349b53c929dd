//! The folders of a Maildir, open.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::file_name::{self, NameMaker};
use crate::folder::Folder;

/// open(2) flags for a folder that is to be listed.
const LISTED: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The folders, and what makes names for its letters.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) folder: Folder,
    pub(super) tmp: Folder,
    pub(super) new: Folder,
    /// What `new` is in, where it may not be on the disk.
    pub(super) parent_of_new: Option<Folder>,
    pub(super) names: NameMaker,
}

impl Parts {
    /// Returns the folders whose fsync makes a letter in `new` durable.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Folder> {
        [&self.new].into_iter().chain(&self.parent_of_new)
    }

    /// Waits until the letters in `new` are durable.
    pub(super) fn sync(&self) -> Result<()> {
        let folders: Vec<_> = self.folders().collect();
        Folder::sync_each(&folders).into_iter().collect()
    }

    /// Finds a letter that a reader has moved to `cur`, with any flags; returns its name there.
    pub(super) fn find_in_cur(&self, name: &OsStr) -> Result<Option<OsString>> {
        let path = self.folder.path().join("cur");
        let opened = retry_eintr(|| Dir::openat(&self.folder, "cur", LISTED, Mode::empty()));
        let mut cur = opened.map_err(Error::io("open", &path))?;
        for entry in cur.iter() {
            let entry = entry.map_err(Error::io("read", &path))?;
            let entry = entry.file_name().to_bytes();
            if file_name::base(entry) == name.as_bytes() {
                return Ok(Some(OsString::from_vec(entry.to_vec())));
            }
        }
        Ok(None)
    }
}
