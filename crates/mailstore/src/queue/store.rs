//! A queue: its folders, and what is in them.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat};
use sys::getdents::entries;

use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::queue::draft::QueueDraft;
use crate::queue::envelope::QueueEnvelope;
use crate::queue::locked::{LockedLetter, QueuedLetter};
use crate::queue::parts::{HOLD, LETTERS, Parts, STATE, TMP};
use crate::sweep::sweep_but;

/// Rights of group and others, which no folder of a queue gives.
const OTHERS: u32 = 0o077;
/// All of the folders.
const PARTS: [&str; 4] = [TMP, LETTERS, STATE, HOLD];

/// A queue, by the descriptors of its folders.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(super) parts: Arc<Parts>,
}

impl Queue {
    /// Opens the queue in this folder, all of which must belong to this user. A part that is missing, but for `letters`,
    /// is an error for what needs it alone.
    ///
    /// # Errors
    /// [`Error::Io`]: `letters` is not there, or a part cannot be opened; [`Error::Refused`] names one that is another
    /// user's, or that others may use.
    pub fn open(folder: Folder, owner: Uid) -> Result<Queue> {
        let part = |name: &str| {
            let part = folder.enter(OsStr::new(name))?;
            check(&part, owner)?;
            Ok::<Folder, Error>(part)
        };
        let if_there = |name: &str| match part(name) {
            Err(error) if error.kind() == Some(ErrorKind::NotFound) => Ok(None),
            opened => opened.map(Some),
        };
        let (tmp, state, hold) = (if_there(TMP)?, if_there(STATE)?, if_there(HOLD)?);
        let letters = part(LETTERS)?;
        Ok(Queue { parts: Arc::new(Parts { folder, letters, tmp, state, hold }) })
    }

    /// Makes what is missing of a queue in this folder, mode 0700; then all its folders are on the disk, those too that
    /// were there. With the rights of root, what is missing is made for the owner.
    ///
    /// # Errors
    /// As [`Queue::open`]; a part cannot be made; the folder is neither the owner's own nor one that only root can
    /// change.
    pub fn make(folder: Folder, uid: Uid, gid: Gid) -> Result<Queue> {
        check_place(&folder, uid)?;
        for name in PARTS {
            let part = folder.make(OsStr::new(name))?;
            // Made by root, now or before a crash. To put another folder of root's here, by rename(2), its owner
            // must be able to write to that one already.
            if part.owner()?.0 != uid && part.owner()?.0 == geteuid() {
                fchown(&part, Some(uid), Some(gid)).map_err(Error::io("chown", part.path()))?;
                part.sync()?;
            }
        }
        folder.reopen()?.sync()?;
        Queue::open(folder, uid)
    }

    /// Checks what [`Queue::make`] would find, and makes nothing.
    ///
    /// # Errors
    /// As [`Queue::make`].
    pub(super) fn check(folder: &Folder, uid: Uid) -> Result<()> {
        check_place(folder, uid)?;
        for name in PARTS {
            match folder.enter(OsStr::new(name)) {
                Ok(part) if part.owner()?.0 == geteuid() => {} // it would be given to its owner
                Ok(part) => check(&part, uid)?,
                Err(error) if error.kind() == Some(ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns whether all of its folders are there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Parts { tmp, state, hold, .. } = &*self.parts;
        [tmp, state, hold].iter().all(|part| part.is_some())
    }

    /// Returns whose queue this folder is: the owner of `letters`, before that is made the folder's own.
    ///
    /// # Errors
    /// [`Error::Io`]: `letters` cannot be opened.
    pub fn owner_of(folder: &Folder) -> Result<(Uid, Gid)> {
        match folder.enter(OsStr::new(LETTERS)) {
            Ok(letters) => letters.owner(),
            Err(error) if error.kind() == Some(ErrorKind::NotFound) => folder.owner(),
            Err(error) => Err(error),
        }
    }

    /// Returns the folders that a process needs that puts letters in.
    pub fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.parts.tmp.iter().chain([&self.parts.letters])
    }

    /// Returns the bytes that are free on its disk.
    ///
    /// # Errors
    /// As fstatvfs(3).
    pub fn free_bytes(&self) -> Result<u64> {
        self.parts.letters.free_bytes()
    }

    /// Begins a letter; no program sees it before it is published.
    ///
    /// # Errors
    /// [`Error::Io`]; those of [`QueueEnvelope::encode`].
    pub fn draft(&self, envelope: &QueueEnvelope) -> Result<QueueDraft> {
        QueueDraft::create(&self.parts, envelope)
    }

    /// Returns the names of all letters, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`]: the folder cannot be read.
    pub fn list(&self) -> Result<Vec<OsString>> {
        let letters = &self.parts.letters;
        let mut names = Vec::new();
        entries(&letters.reopen()?, |entry| names.push(OsString::from_vec(entry.name.to_vec())))
            .map_err(Error::io("read", letters.path()))?;
        names.sort();
        Ok(names)
    }

    /// Calls `each` with the name of each letter, in no order.
    ///
    /// # Errors
    /// [`Error::Io`]: the folder cannot be read.
    pub fn each_name(&self, mut each: impl FnMut(&OsStr)) -> Result<()> {
        let letters = &self.parts.letters;
        entries(&letters.reopen()?, |entry| each(OsStr::from_bytes(entry.name)))
            .map_err(Error::io("read", letters.path()))
    }

    /// Reads a letter, locked or not; `None` if it is there no more.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] where it is malformed.
    pub fn read(&self, name: &OsStr) -> Result<Option<QueuedLetter>> {
        QueuedLetter::read(&self.parts, name)
    }

    /// Locks a letter for all its recipients; `None` if it is there no more.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has a lock on it; [`Error::Refused`] where it is malformed.
    pub fn lock(&self, name: &OsStr) -> Result<Option<LockedLetter>> {
        LockedLetter::lock(&self.parts, name, None)
    }

    /// Locks a letter for some of its recipients, by number from 0; `None` if it is there no more.
    ///
    /// # Errors
    /// As [`Queue::lock`], for these recipients.
    pub fn lock_for(&self, name: &OsStr, recipients: &[usize]) -> Result<Option<LockedLetter>> {
        LockedLetter::lock(&self.parts, name, Some(recipients))
    }

    /// Removes what a crash has left: files in `tmp` that were not touched for 36 hours, and what is known of letters
    /// that are there no more. Returns their number.
    ///
    /// # Errors
    /// [`Error::Io`]: a folder cannot be read.
    pub fn sweep(&self) -> Result<usize> {
        let letters = &self.parts.letters;
        let mut removed = sweep_but(&self.parts.folder, |name| self.parts.is_awaited(name));
        for folder in [&self.parts.state, &self.parts.hold].into_iter().flatten() {
            let mut names = Vec::new();
            entries(&folder.reopen()?, |entry| names.push(entry.name.to_vec()))
                .map_err(Error::io("read", folder.path()))?;
            let is_gone = |name: &Vec<u8>| {
                let found = fstatat(letters, name.as_slice(), AtFlags::AT_SYMLINK_NOFOLLOW);
                found == Err(Errno::ENOENT)
            };
            let remove = |name: &Vec<u8>| {
                unlinkat(folder, name.as_slice(), UnlinkatFlags::NoRemoveDir).is_ok()
            };
            removed += names.iter().filter(|name| is_gone(name) && remove(name)).count();
        }
        Ok(removed)
    }
}

/// Checks that a queue may lie in this folder.
fn check_place(folder: &Folder, uid: Uid) -> Result<()> {
    if folder.owner()?.0 == uid || folder.is_roots_alone()? {
        return Ok(());
    }
    let path = folder.path().display();
    Err(Error::Refused(format!("{path}: neither root's alone nor of the queue's owner, uid {uid}")))
}

/// Checks that a folder is its owner's alone.
fn check(folder: &Folder, owner: Uid) -> Result<()> {
    let (uid, mode) = (folder.owner()?.0, folder.mode()?);
    let path = folder.path().display();
    if uid != owner {
        return Err(Error::Refused(format!("{path}: belongs to uid {uid}, not {owner}")));
    }
    if mode & OTHERS != 0 {
        return Err(Error::Refused(format!("{path}: others may use it (chmod 700)")));
    }
    Ok(())
}
