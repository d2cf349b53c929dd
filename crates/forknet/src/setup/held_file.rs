//! A file that is removed later, if it is still the same.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// A file to be removed. Its folder and the file are held open, so that neither a rename of a
/// folder nor a new file of the same name or inode number is mistaken for it.
#[derive(Debug)]
pub(crate) struct HeldFile {
    folder: OwnedFd,
    name: OsString,
    file: OwnedFd,
}

impl AsFd for HeldFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl HeldFile {
    /// Opens the file, without following a link.
    pub(crate) fn open(path: &Path, how: OFlag) -> nix::Result<HeldFile> {
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(folder, flags, Mode::empty())?;
        let how = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&folder, name, how, Mode::empty())?;
        Ok(HeldFile { folder, name: name.to_owned(), file })
    }

    /// Removes the file. A failure is ignored, because the next server replaces what is left.
    pub(crate) fn remove(&self) {
        if self.is_still_there() {
            let _ = unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir); // see above
        }
    }

    fn is_still_there(&self) -> bool {
        let there = fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        there.is_ok_and(|there| fstat(&self.file).is_ok_and(|held| same(there, held)))
    }
}
