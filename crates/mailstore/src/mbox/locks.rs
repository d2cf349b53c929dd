//! The locks of an mbox that every program for mail knows: a record lock of fcntl(2), and the file `FILE.lock`.
//!
//! The record lock is first, and neither is waited for under the other, so that no two programs wait for each
//! other. It stays until the file is closed, that of this process alone: it is of the open file description.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{FileStat, fstat, fstatat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::mbox::dotlock::Dotlock;
use crate::mbox::pending::Pending;

/// The locks, and the file that they are of.
#[derive(Debug)]
pub(crate) struct Locks {
    /// The mbox, under the record lock.
    pub(crate) file: File,
    /// As of the lock.
    pub(crate) stat: FileStat,
    /// `None` where this user may make no files beside the mbox, and need not.
    dotlock: Option<Dotlock>,
}

/// What to do where this user may make no files beside the mbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithoutDotlock {
    /// The record lock must do: a letter is appended by a user who has rights to this file alone.
    Go,
    /// That is an error: the file is to be replaced.
    Fail,
}

impl Locks {
    /// Takes both locks of the mbox `name` in a folder, which is open as `file`, without waiting; `None` while
    /// another program has one, or where another file has this name now.
    ///
    /// # Errors
    /// A lock cannot be made.
    pub(crate) fn try_lock(
        folder: &Folder,
        name: &OsStr,
        file: File,
        without: WithoutDotlock,
    ) -> Result<Option<Locks>> {
        let path = folder.path().join(name);
        if !lock_record(&file).map_err(Error::io("lock", &path))? {
            return Ok(None);
        }
        // What has this name now is of one process, which has the lock: so are the names beside it.
        let stat = fstat(&file).map_err(Error::io("stat", &path))?;
        if !is_at(folder, name, &stat).map_err(Error::io("stat", &path))? {
            return Ok(None);
        }
        let dotlock = match Dotlock::try_lock(folder, name) {
            Ok(None) => return Ok(None),
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) if without == WithoutDotlock::Go => {
                None
            }
            made => made.map_err(Error::io("make", &Dotlock::path(&path)))?,
        };
        let mut locks = Locks { file, stat, dotlock };
        // Another program may look for the file alone.
        let is_there = is_at(folder, name, &locks.stat).map_err(Error::io("stat", &path));
        let recovered = is_there.and_then(|is_there| match is_there {
            true => Pending::recover(folder, name, &locks.file, &locks.stat).map(|()| true),
            false => Ok(false),
        });
        let stat = recovered.and_then(|is_there| {
            let now = fstat(&locks.file).map_err(Error::io("stat", &path))?;
            Ok(is_there.then_some(now))
        });
        if let Ok(Some(stat)) = stat {
            locks.stat = stat;
            return Ok(Some(locks));
        }
        locks.release(folder);
        stat.map(|_| None)
    }

    /// Gives both locks back, in the other order.
    pub(crate) fn release(self, folder: &Folder) {
        if let Some(dotlock) = &self.dotlock {
            dotlock.release(folder);
        }
    }
}

/// Returns whether a file has this name.
pub(crate) fn is_at(folder: &Folder, name: &OsStr, file: &FileStat) -> nix::Result<bool> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(at) => Ok((at.st_dev, at.st_ino) == (file.st_dev, file.st_ino)),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Locks a whole file for writing, without waiting; returns false while another process has it. The lock is
/// of the open file description, so that it does not end when another descriptor of the file is closed.
pub(crate) fn lock_record(file: &impl AsFd) -> nix::Result<bool> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match retry_eintr(|| fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}
