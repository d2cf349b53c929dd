//! A letter that is being put into the queue.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::queue::envelope::QueueEnvelope;
use crate::queue::parts::{FILE_MODE, Parts, TMP};

/// open(2) flags for a new letter.
const NEW_LETTER: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// Most attempts to find a free name.
const MAX_NAME_ATTEMPTS: usize = 8;

/// Number of names made by this process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Returns a name: the time in seconds and microseconds, the process id, and a number within the process, in an order
/// in which `ls` shows the oldest first.
fn new_name() -> OsString {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), std::process::id());
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{seconds:x}-{micros:05x}-{pid}-{number}").into()
}

/// The file in `tmp`, removed on drop unless it is kept.
#[derive(Debug)]
struct Unpublished {
    parts: Arc<Parts>,
    name: OsString,
    is_kept: bool,
}

impl Unpublished {
    /// For messages.
    fn path(&self) -> PathBuf {
        self.parts.path(TMP).join(&self.name)
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        let Some(tmp) = self.parts.tmp.as_ref().filter(|_| !self.is_kept) else { return };
        // Fails if the letter was published. What cannot be removed is swept after 36 hours.
        let _ = unlinkat(tmp, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// A letter being written, with lines that end in LF. Every `write` is one system call, so write large pieces.
#[derive(Debug)]
pub struct QueueDraft {
    file: File,
    unpublished: Unpublished,
}

impl QueueDraft {
    /// Begins a letter, with its envelope.
    pub(super) fn create(parts: &Arc<Parts>, envelope: &QueueEnvelope) -> Result<QueueDraft> {
        for _ in 0..MAX_NAME_ATTEMPTS {
            match QueueDraft::named(parts, new_name(), envelope) {
                Err(error) if error.kind() == Some(io::ErrorKind::AlreadyExists) => {}
                created => return created,
            }
        }
        Err(Error::io("create", parts.tmp()?.path())(Errno::EEXIST))
    }

    /// As [`QueueDraft::create`], with this name.
    pub(super) fn named(
        parts: &Arc<Parts>,
        name: OsString,
        envelope: &QueueEnvelope,
    ) -> Result<QueueDraft> {
        let (text, tmp) = (envelope.encode()?, parts.tmp()?);
        let opened = retry_eintr(|| openat(tmp, name.as_os_str(), NEW_LETTER, FILE_MODE));
        let file = opened.map_err(Error::io("create", &tmp.path().join(&name)))?;
        let unpublished = Unpublished { parts: Arc::clone(parts), name, is_kept: false };
        let mut draft = QueueDraft { file: File::from(file), unpublished };
        let written = draft.write_all(&text);
        written.map_err(Error::io("write to", &draft.unpublished.path()))?;
        Ok(draft)
    }

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

    /// Leaves the file in `tmp`; returns its name.
    pub(super) fn keep(mut self) -> OsString {
        self.unpublished.is_kept = true;
        self.unpublished.name.clone()
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
        let Unpublished { parts, name, .. } = &self.unpublished;
        let path = parts.letters.path().join(name);
        rename(parts, name)?.map_err(Error::io("rename", &path))
    }
}

/// Puts a file of `tmp` into `letters`, where it replaces none. On a file system that cannot do so by rename(2) it stays in `tmp` too.
pub(super) fn rename(parts: &Parts, name: &OsStr) -> Result<nix::Result<()>> {
    let (tmp, letters) = (parts.tmp()?, &parts.letters);
    Ok(match renameat2(tmp, name, letters, name, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS) => linkat(tmp, name, letters, name, AtFlags::empty()),
        renamed => renamed,
    })
}
