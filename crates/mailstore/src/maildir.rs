//! Delivery into a Maildir: a letter is written in `tmp`, fsynced, and then renamed into `new`. A
//! reader never sees an incomplete letter.
//!
//! Every step is a type, so that a letter for several users is delivered to all of them or to none:
//! create all [`Draft`]s, [`Draft::sync`] all, [`Synced::publish`] all, and [`Published::retract`]
//! the published ones if one fails. A letter dropped before it is published is removed.

mod parts;
mod published;
mod safe;
mod unpublished;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, RenameFlags, fallocate, openat, renameat2};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::linkat;

use sys::sync_file_range::start_writing;

use crate::durable_dir::{durable_create_dir, retry_eintr};
use crate::error::{Error, Result};
use crate::file_name::NameMaker;
use crate::folder::Folder;
use crate::maildir::parts::Parts;
use crate::maildir::unpublished::Unpublished;
use crate::sweep::sweep;
use crate::wire_size::WireSize;

pub use published::Published;
pub use safe::SafeMaildirs;

/// Mode of new letters: only the owner has access.
const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// open(2) flags for a new letter.
const NEW_LETTER: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// Threads that fsync the letters of a batch.
const SYNCS_AT_ONCE: usize = 16;
/// Most attempts to find a free name. More than one is needed only after the clock was set back.
const MAX_NAME_ATTEMPTS: usize = 8;

/// A Maildir that letters are delivered to, by the descriptors of its folders: what its path leads to
/// later makes no difference.
#[derive(Debug, Clone)]
pub struct Maildir {
    parts: Arc<Parts>,
}

impl Maildir {
    /// Creates the missing folders of a Maildir and its parents, mode 0700, and fsyncs them. An
    /// existing one is not an error. For a path of the user who runs this: it is opened by name.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the folder that could not be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Maildir> {
        let path = path.as_ref();
        durable_create_dir(path)?;
        Maildir::make(Folder::open(path)?)
    }

    /// Opens the Maildir in this folder. Makes what is missing of `tmp`, `new` and `cur`, mode 0700. They are on the disk
    /// when a letter was published.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the part that is no folder, or cannot be made.
    pub fn make(folder: Folder) -> Result<Maildir> {
        Maildir::make_with(folder, &SafeMaildirs::default())
    }

    /// As [`Maildir::make`], of one that may be among those that are known to be on the disk.
    ///
    /// # Errors
    /// As [`Maildir::make`].
    pub fn make_with(folder: Folder, safe: &SafeMaildirs) -> Result<Maildir> {
        let part = |name: &str| match folder.enter(OsStr::new(name)) {
            Err(error) if error.kind() == Some(io::ErrorKind::NotFound) => {
                folder.make(OsStr::new(name))
            }
            opened => opened,
        };
        let (tmp, new, _cur, names) = (part("tmp")?, part("new")?, part("cur")?, NameMaker::new());
        let parent_of_new = match safe.has(&new) {
            true => None,
            false => new.parent_of_new(&folder)?,
        };
        Ok(Maildir { parts: Arc::new(Parts { folder, tmp, new, parent_of_new, names }) })
    }

    /// Returns the path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.parts.folder.path()
    }

    /// Returns its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.parts.folder
    }

    /// Creates an empty letter in `tmp`, mode 0600. Readers see it when it is published.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the file that could not be created.
    pub fn draft(&self) -> Result<Draft> {
        let tmp = &self.parts.tmp;
        for _ in 0..MAX_NAME_ATTEMPTS {
            let base = self.parts.names.unique();
            match retry_eintr(|| openat(tmp, base.as_os_str(), NEW_LETTER, FILE_MODE)) {
                Ok(file) => {
                    let unpublished = Unpublished { parts: Arc::clone(&self.parts), base };
                    return Draft::of(File::from(file), unpublished);
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::io("create", &tmp.path().join(&base))(errno)),
            }
        }
        Err(Error::io("create", tmp.path())(Errno::EEXIST))
    }

    /// Creates a letter that will be the same as that of another Maildir of this user's: a second name for its file.
    /// `None` where it needs one of its own: the other Maildir is on another disk.
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the name that could not be made.
    pub fn draft_of_same(&self, other: &Draft) -> Result<Option<Draft>> {
        let unpublished = self.link_name(&other.unpublished)?;
        let (file, wire) = (Arc::clone(&other.file), WireSize::new());
        Ok(unpublished.map(|unpublished| Draft {
            file,
            bytes: 0,
            reserved: other.reserved,
            wire,
            inode: other.inode,
            unpublished,
        }))
    }

    /// Adds a letter that was written for another Maildir of this user's, without writing it again, as
    /// [`Maildir::draft_of_same`].
    ///
    /// # Errors
    /// [`Error::Io`] with the path of the name that could not be made.
    pub fn link(&self, written: &Synced) -> Result<Option<Synced>> {
        let unpublished = self.link_name(&written.unpublished)?;
        let Synced { bytes, octets, inode, .. } = *written;
        Ok(unpublished.map(|unpublished| Synced { bytes, octets, inode, unpublished }))
    }

    /// Makes a second name for a file.
    fn link_name(&self, from: &Unpublished) -> Result<Option<Unpublished>> {
        let tmp = &self.parts.tmp;
        for _ in 0..MAX_NAME_ATTEMPTS {
            let base = self.parts.names.unique();
            let name = (from.base.as_os_str(), base.as_os_str());
            match linkat(&from.parts.tmp, name.0, tmp, name.1, AtFlags::empty()) {
                Ok(()) => {
                    return Ok(Some(Unpublished { parts: Arc::clone(&self.parts), base }));
                }
                Err(Errno::EEXIST) => {}
                // Another disk, no links there, too many of them; or Landlock's first version.
                Err(Errno::EXDEV | Errno::EPERM | Errno::EMLINK | Errno::EACCES) => {
                    return Ok(None);
                }
                Err(errno) => return Err(Error::io("link", &tmp.path().join(&base))(errno)),
            }
        }
        Err(Error::io("link", tmp.path())(Errno::EEXIST))
    }

    /// Removes what interrupted deliveries have left in `tmp`: files not touched for 36 hours. Returns their number.
    pub fn sweep(&self) -> usize {
        sweep(&self.parts.folder)
    }

    /// Returns whether a letter that was published under this name still exists, read or unread.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn contains(&self, name: &OsStr) -> Result<bool> {
        let new = &self.parts.new;
        match fstatat(new, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(self.parts.find_in_cur(name)?.is_some()),
            Err(errno) => Err(Error::io("open", &new.path().join(name))(errno)),
        }
    }
}

/// A letter being written, with lines that end in LF. Every `write` is one system call, so write
/// large pieces.
#[derive(Debug)]
pub struct Draft {
    file: Arc<File>,
    bytes: u64,
    /// Bytes that the disk has set aside.
    reserved: u64,
    wire: WireSize,
    /// Device and inode of the file.
    inode: (u64, u64),
    unpublished: Unpublished,
}

impl Draft {
    fn of(file: File, unpublished: Unpublished) -> Result<Draft> {
        let stat = fstat(&file).map_err(Error::io("stat", &unpublished.path()))?;
        let (inode, file, wire) = ((stat.st_dev, stat.st_ino), Arc::new(file), WireSize::new());
        Ok(Draft { file, bytes: 0, reserved: 0, wire, inode, unpublished })
    }

    /// Takes what was written for another Maildir, if that is the same file ([`Maildir::draft_of_same`]).
    ///
    /// # Errors
    /// The draft: it is a file of its own.
    pub fn as_written(self, written: &Synced) -> std::result::Result<Synced, Draft> {
        let Synced { bytes, octets, inode, .. } = *written;
        if inode != self.inode {
            return Err(self);
        }
        Ok(Synced { bytes, octets, inode, unpublished: self.unpublished })
    }

    /// Has the disk set room aside for a letter of this many bytes, so that a full disk or a quota is seen before the
    /// letter comes. A file system that cannot do that says nothing.
    ///
    /// # Errors
    /// [`Error::Io`]: there is no room.
    pub fn reserve(&mut self, bytes: u64) -> Result<()> {
        let length = i64::try_from(bytes.max(1)).unwrap_or(i64::MAX);
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match retry_eintr(|| fallocate(&self.file, flags, 0, length)) {
            Ok(()) => {
                self.reserved = bytes;
                Ok(())
            }
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM) => Ok(()),
            Err(errno) => Err(Error::io("write to", &self.unpublished.path())(errno)),
        }
    }

    /// Fsyncs the complete letter and closes the file.
    ///
    /// # Errors
    /// [`Error::Io`] if fsync(2) fails; the file is then removed.
    pub fn sync(self) -> Result<Synced> {
        self.fsync()?;
        Ok(self.synced())
    }

    /// Starts to write the letter to the disk, without waiting, so that [`Draft::sync_all`] has less to wait
    /// for.
    pub fn start_sync(&self) {
        let _ = start_writing(&self.file, 0, self.bytes); // fsync tells of errors
    }

    /// Fsyncs several complete letters at the same time: the file system then writes its journal once for
    /// many of them, and not once for each.
    ///
    /// # Errors
    /// As [`Draft::sync`], for the first that fails; all are then removed.
    pub fn sync_all(drafts: Vec<Draft>) -> Result<Vec<Synced>> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(draft) = drafts.get(next.fetch_add(1, Relaxed)) {
                draft.fsync()?;
            }
            Ok(())
        };
        let synced: Result<()> = thread::scope(|scope| {
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..drafts.len().min(SYNCS_AT_ONCE)).map_while(start).collect();
            let ended =
                others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(lost())));
            let done = work();
            ended.fold(done, Result::and)
        });
        synced?;
        Ok(drafts.into_iter().map(Draft::synced).collect())
    }

    fn fsync(&self) -> Result<()> {
        if self.reserved > self.bytes {
            // The rest of what was reserved.
            let cut = self.file.set_len(self.bytes);
            cut.map_err(Error::io("write to", &self.unpublished.path()))?;
        }
        self.file.sync_data().map_err(Error::io("fsync", &self.unpublished.path()))
    }

    /// Closes the file.
    fn synced(self) -> Synced {
        let Draft { bytes, wire, inode, unpublished, .. } = self;
        Synced { bytes, octets: wire.octets(), inode, unpublished }
    }
}

/// The error of a thread that has panicked.
fn lost() -> Error {
    Error::Refused("a thread for fsync has ended".into())
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Another draft of the same file may have failed in the middle.
        let written = self.file.write_at(bytes, self.bytes)?;
        self.bytes += written as u64;
        self.wire.feed(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A letter that is durable and not visible yet. It holds no open file.
#[derive(Debug)]
pub struct Synced {
    bytes: u64,
    octets: u64,
    /// Device and inode of the file that was synced.
    inode: (u64, u64),
    unpublished: Unpublished,
}

impl Synced {
    /// Returns its size on disk, the `S=` of its name.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns its size with CRLF line ends, the `W=` of its name.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Returns the name under which it will be published.
    #[must_use]
    pub fn name(&self) -> OsString {
        let mut name = self.unpublished.base.clone();
        name.push(format!(",S={},W={}", self.bytes, self.octets));
        name
    }

    /// Makes the letter visible: renames it into `new`, never over another file, and fsyncs the
    /// folder. After this the letter may be acknowledged.
    ///
    /// # Errors
    /// [`Error::Io`]. The letter is then neither in `new` nor in `tmp`. [`Error::Refused`] if another file
    /// was put in the letter's place in `tmp`, which is not opened.
    pub fn publish(self) -> Result<Published> {
        let published = self.rename()?;
        let synced = published.parts.sync();
        published.if_durable(synced)
    }

    /// Makes several letters of one Maildir visible, all or none, with one fsync of the folder.
    ///
    /// # Errors
    /// As [`Synced::publish`].
    pub fn publish_all(letters: Vec<Synced>) -> Result<Vec<Published>> {
        let mut published: Vec<Published> = Vec::new();
        let renamed = letters.into_iter().try_for_each(|letter| {
            published.push(letter.rename()?);
            Ok(())
        });
        let folder = published.first().map(|letter| Arc::clone(&letter.parts));
        match renamed.and_then(|()| folder.map_or(Ok(()), |parts| parts.sync())) {
            Ok(()) => Ok(published),
            Err(error) => {
                for letter in published {
                    let _ = letter.retract(); // best effort
                }
                Err(error)
            }
        }
    }

    /// Makes letters visible, each as [`Synced::publish`], but waits for the folders when all are in their places, and
    /// for all at the same time: a journal is then written once. Returns a result for each.
    pub fn publish_each(letters: Vec<Synced>) -> Vec<Result<Published>> {
        let renamed: Vec<_> = letters.into_iter().map(Synced::rename).collect();
        let folders: Vec<_> = renamed.iter().flatten().flat_map(|it| it.parts.folders()).collect();
        let mut synced = Folder::sync_each(&folders).into_iter();
        let durable = |renamed: Result<Published>| {
            let published = renamed?;
            let its = synced.by_ref().take(published.parts.folders().count());
            let its = its.fold(Ok(()), Result::and);
            published.if_durable(its)
        };
        renamed.into_iter().map(durable).collect()
    }

    /// Renames the letter into `new`, whose fsync is left to the caller.
    fn rename(self) -> Result<Published> {
        let parts = Arc::clone(&self.unpublished.parts);
        let published = Published { name: self.name(), parts };
        let (new, name) = (&published.parts.new, published.name.as_os_str());
        rename_new(&self.unpublished, new, name)?;
        match self.check_place(new, name) {
            Ok(()) => Ok(published),
            Err(error) => {
                let _ = published.retract(); // best effort
                Err(error)
            }
        }
    }

    /// Checks that the file with the letter's name is the one that was synced.
    fn check_place(&self, new: &Folder, name: &OsStr) -> Result<()> {
        let path = new.path().join(name);
        let stat = fstatat(new, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let stat = stat.map_err(Error::io("stat", &path))?;
        if (stat.st_dev, stat.st_ino) == self.inode {
            return Ok(());
        }
        let why = "another file was put in the letter's place";
        Err(Error::Refused(format!("{}: {why}", self.unpublished.path().display())))
    }
}

/// Renames without replacing. Uses link(2) if the file system lacks RENAME_NOREPLACE.
fn rename_new(from: &Unpublished, new: &Folder, name: &OsStr) -> Result<()> {
    let (tmp, base, path) = (&from.parts.tmp, from.base.as_os_str(), new.path().join(name));
    match renameat2(tmp, base, new, name, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            // The name in `tmp` is removed when the letter's `Unpublished` is dropped.
            linkat(tmp, base, new, name, AtFlags::empty()).map_err(Error::io("link", &path))
        }
        Err(errno) => Err(Error::io("rename", &path)(errno)),
    }
}

#[cfg(test)]
mod tests;
