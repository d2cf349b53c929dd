//! The outgoing queue: letters that wait for other servers.
//!
//! ```text
//!  DIR/tmp/ID      a letter that is being written
//!  DIR/letters/ID  a letter: its envelope, an empty line, its text with lines that end in LF. Never changed.
//!  DIR/state/ID    what has become of its recipients, a line for each attempt; none before the first
//!  DIR/hold/ID     the letter is not to be sent
//! ```
//! All of it belongs to one user, and to no other. A letter is put in by [`QueueDraft::sync`], which waits for its bytes,
//! and [`QueuedDraft::publish_all`]: rename(2) from `tmp` to `letters`, fsync(2) of `letters`. What sends it has a lock
//! on those of its recipients that it sends to ([`Queue::lock_for`]), which ends with the process; it is removed from `letters`
//! first, so that a crash sends nothing twice that was done.

mod control;
mod envelope;
mod locked;
mod parts;
mod state;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::fstatat;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, unlinkat};
use sys::getdents::entries;

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::queue::parts::{FILE_MODE, Parts};
use crate::sweep::sweep;

pub use control::RunnerLock;
pub use envelope::{QueueEnvelope, QueueRecipient};
pub use locked::{LockedLetter, QueuedLetter};
pub use state::{RecipientState, Stage};

/// open(2) flags for a new letter.
const NEW_LETTER: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// Rights of group and others, which no folder of a queue gives.
const OTHERS: u32 = 0o077;
/// Most attempts to find a free name.
const MAX_NAME_ATTEMPTS: usize = 8;

/// The names of the folders.
const TMP: &str = "tmp";
const LETTERS: &str = "letters";
const STATE: &str = "state";
const HOLD: &str = "hold";

/// Number of names made by this process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A queue, by the descriptors of its folders.
#[derive(Debug, Clone)]
pub struct Queue {
    parts: Arc<Parts>,
}

impl Queue {
    /// Opens the queue in this folder, all of which must belong to this user.
    ///
    /// # Errors
    /// [`Error::Io`] names the part that is not there; [`Error::Refused`] names one that is another user's, or that
    /// others may use.
    pub fn open(folder: Folder, owner: Uid) -> Result<Queue> {
        let part = |name: &str| {
            let part = folder.enter(OsStr::new(name))?;
            check(&part, owner)?;
            Ok(part)
        };
        let (tmp, letters, state) = (part(TMP)?, part(LETTERS)?, part(STATE)?);
        let hold = part(HOLD)?;
        Ok(Queue { parts: Arc::new(Parts { folder, tmp, letters, state, hold }) })
    }

    /// Makes what is missing of a queue in this folder, mode 0700; then all its folders are on the disk, those too that
    /// were there. With the rights of root, what is missing is made for the owner.
    ///
    /// # Errors
    /// As [`Queue::open`]; a part cannot be made; the folder is neither the owner's own nor one that only root can
    /// change.
    pub fn make(folder: Folder, uid: Uid, gid: Gid) -> Result<Queue> {
        if folder.owner()?.0 != uid && !folder.is_roots_alone()? {
            let path = folder.path().display();
            let why = format!("{path}: neither root's alone nor of the queue's owner, uid {uid}");
            return Err(Error::Refused(why));
        }
        for name in [TMP, LETTERS, STATE, HOLD] {
            let part = folder.make(OsStr::new(name))?;
            // Made by root, now or before a crash. To put another folder of root's here, by rename(2), its owner
            // must be able to write to that one already.
            if part.owner()?.0 != uid && part.owner()?.0 == nix::unistd::geteuid() {
                fchown(&part, Some(uid), Some(gid)).map_err(Error::io("chown", part.path()))?;
                part.sync()?;
            }
        }
        folder.reopen()?.sync()?;
        Queue::open(folder, uid)
    }

    /// Returns the folders that a process needs that puts letters in.
    pub fn folders(&self) -> impl Iterator<Item = &Folder> {
        [&self.parts.tmp, &self.parts.letters].into_iter()
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
        let text = envelope.encode()?;
        let tmp = &self.parts.tmp;
        for _ in 0..MAX_NAME_ATTEMPTS {
            let name = new_name();
            match retry_eintr(|| openat(tmp, name.as_os_str(), NEW_LETTER, FILE_MODE)) {
                Ok(file) => {
                    let unpublished = Unpublished { parts: Arc::clone(&self.parts), name };
                    let mut draft = QueueDraft { file: File::from(file), unpublished };
                    let written = draft.write_all(&text);
                    written.map_err(Error::io("write to", &draft.unpublished.path()))?;
                    return Ok(draft);
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::io("create", &tmp.path().join(&name))(errno)),
            }
        }
        Err(Error::io("create", tmp.path())(Errno::EEXIST))
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
        let mut removed = sweep(&self.parts.folder);
        for folder in [&self.parts.state, &self.parts.hold] {
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

/// Returns a name: the time in seconds and microseconds, the process id, and a number within the process, in an order
/// in which `ls` shows the oldest first.
fn new_name() -> OsString {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), std::process::id());
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{seconds:x}-{micros:05x}-{pid}-{number}").into()
}

/// The file in `tmp`, removed on drop.
#[derive(Debug)]
struct Unpublished {
    parts: Arc<Parts>,
    name: OsString,
}

impl Unpublished {
    /// For messages.
    fn path(&self) -> PathBuf {
        self.parts.tmp.path().join(&self.name)
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        // Fails if the letter was published. What cannot be removed is swept after 36 hours.
        let _ = unlinkat(&self.parts.tmp, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// A letter being written, with lines that end in LF. Every `write` is one system call, so write large pieces.
#[derive(Debug)]
pub struct QueueDraft {
    file: File,
    unpublished: Unpublished,
}

impl QueueDraft {
    /// Waits until the complete letter is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if fdatasync(2) fails; the file is then removed.
    pub fn sync(self) -> Result<QueuedDraft> {
        let QueueDraft { file, unpublished } = self;
        file.sync_data().map_err(Error::io("fsync", &unpublished.path()))?;
        Ok(QueuedDraft { unpublished })
    }
}

impl Write for QueueDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A letter that is on the disk, and not in the queue yet. It holds no open file.
#[derive(Debug)]
pub struct QueuedDraft {
    unpublished: Unpublished,
}

impl QueuedDraft {
    /// Returns the name that it will have in the queue.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.unpublished.name
    }

    /// Puts letters into the queue, all or none, with one fsync of the folder. After this they may be acknowledged, and
    /// may be sent at any moment.
    ///
    /// # Errors
    /// [`Error::Io`]. None of them is in the queue then, but those that a process has sent meanwhile.
    pub fn publish_all(letters: Vec<QueuedDraft>) -> Result<()> {
        let Some(parts) = letters.first().map(|it| Arc::clone(&it.unpublished.parts)) else {
            return Ok(());
        };
        let mut published = Vec::with_capacity(letters.len());
        let renamed = letters.into_iter().try_for_each(|letter| {
            letter.rename()?;
            published.push(letter);
            Ok(())
        });
        renamed.and_then(|()| parts.letters.sync()).inspect_err(|_| {
            for QueuedDraft { unpublished } in &published {
                let (name, flag) = (unpublished.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
                let _ = unlinkat(&parts.letters, name, flag); // best effort
            }
        })
    }

    fn rename(&self) -> Result<()> {
        let Unpublished { parts, name } = &self.unpublished;
        let (tmp, letters, name) = (&parts.tmp, &parts.letters, name.as_os_str());
        let path = letters.path().join(name);
        match renameat2(tmp, name, letters, name, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                let linked = linkat(tmp, name, letters, name, AtFlags::empty());
                linked.map_err(Error::io("link", &path))
            }
            Err(errno) => Err(Error::io("rename", &path)(errno)),
        }
    }
}

#[cfg(test)]
mod tests;
