//! Messages to the runner of a queue: which letters wait, which are gone, that all are to be tried. They are files, so
//! they hold whether a runner is there or not.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::fstatat;
use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, access, geteuid, unlinkat};
use sys::getdents::entries;

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::queue::locked::{self, LockedLetter};
use crate::queue::parts::{FILE_MODE, Parts};
use crate::queue::store::Queue;

/// The file by which a runner is asked to try all letters.
const FLUSH: &str = "flush";
/// The file that the runner has locked.
const RUNNER: &str = "runner";
/// open(2) flags for a file that says something by being there.
const NOTE: OFlag = OFlag::O_RDWR
    .union(OFlag::O_CREAT)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);
/// A lock of a whole file.
pub(super) const WHOLE: libc::flock = libc::flock {
    l_type: libc::F_WRLCK as libc::c_short,
    l_whence: libc::SEEK_SET as libc::c_short,
    l_start: 0,
    l_len: 0,
    l_pid: 0,
};

/// The lock of the one runner of a queue, which ends with its process: children do not inherit it (fcntl(2)), so those that
/// a killed runner has left keep no new one from starting. Their letters they have locked by themselves.
#[derive(Debug)]
pub struct RunnerLock {
    _file: File,
}

impl Queue {
    /// Makes what is missing of a queue at this path, its last folder too, and removes what a crash has left.
    ///
    /// # Errors
    /// As [`Queue::make`]; a folder before the last one is not there.
    pub fn make_at(path: &Path, uid: Uid, gid: Gid) -> Result<Queue> {
        let mut walked = Folder::find(path)?;
        if let [name] = walked.missing.as_slice() {
            let parent = walked.folder.reopen()?;
            match geteuid() == uid {
                true => drop(parent.make(name)?),
                false => parent.make_for(name, uid, gid)?,
            }
            parent.sync()?;
            walked = Folder::find(path)?;
        }
        if let Some(name) = walked.missing.first() {
            return Err(missing(&walked.folder, name));
        }
        let queue = Queue::make(walked.folder, uid, gid)?;
        let removed = queue.sweep()?;
        if removed > 0 {
            log::info!("queue: {removed} leftovers removed");
        }
        Ok(queue)
    }

    /// Checks what [`Queue::make_at`] would find or make, and makes nothing.
    ///
    /// # Errors
    /// As [`Queue::make_at`].
    pub fn check_at(path: &Path, uid: Uid) -> Result<()> {
        let walked = Folder::find(path)?;
        match walked.missing.as_slice() {
            [] => Queue::check(&walked.folder, uid),
            [name] if geteuid() != uid => walked.folder.may_make_for(name),
            [_] => {
                access(walked.folder.path(), AccessFlags::W_OK).map_err(Error::io("mkdir", path))
            }
            [name, ..] => Err(missing(&walked.folder, name)),
        }
    }

    /// Locks the queue for its one runner; `None` while another process has the lock. A process has it once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lock_runner(&self) -> Result<Option<RunnerLock>> {
        let folder = &self.parts.folder;
        let file = self.note(folder, OsStr::new(RUNNER)).map_err(|error| match error.kind() {
            Some(ErrorKind::PermissionDenied) => Error::Refused(format!(
                "{error}: {} belongs to uid {}, not to the owner of the letters (chown)",
                folder.path().display(),
                folder.owner().map_or(0, |(uid, _)| uid.as_raw()),
            )),
            _ => error,
        })?;
        match retry_eintr(|| fcntl(&file, FcntlArg::F_SETLK(&WHOLE))) {
            Ok(_) => Ok(Some(RunnerLock { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(Error::io("lock", &self.parts.folder.path().join(RUNNER))(errno)),
        }
    }

    /// Asks the runner to try all letters now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn ask_flush(&self) -> Result<()> {
        self.note(&self.parts.folder, OsStr::new(FLUSH)).map(drop)
    }

    /// Returns whether that was asked since the last call.
    #[must_use]
    pub fn take_flush(&self) -> bool {
        unlinkat(&self.parts.folder, FLUSH, UnlinkatFlags::NoRemoveDir).is_ok()
    }

    /// Keeps a letter from being sent until it is released; false if there is no such letter. An attempt that has begun
    /// goes on.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`]: this is no name of a letter.
    pub fn hold(&self, name: &OsStr) -> Result<bool> {
        if !self.has(name)? {
            return Ok(false);
        }
        let hold = self.parts.hold()?;
        self.note(hold, name)?;
        hold.sync()?;
        Ok(true)
    }

    /// Undoes [`Queue::hold`]; false if the letter was not held.
    ///
    /// # Errors
    /// As [`Queue::hold`].
    pub fn release(&self, name: &OsStr) -> Result<bool> {
        locked::check_name(name)?;
        let Some(hold) = &self.parts.hold else { return Ok(false) };
        match unlinkat(hold, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => hold.sync().map(|()| true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(Error::io("unlink", &hold.path().join(name))(errno)),
        }
    }

    /// Returns whether a letter is held.
    #[must_use]
    pub fn is_held(&self, name: &OsStr) -> bool {
        let hold = self.parts.hold.as_ref();
        hold.is_some_and(|hold| fstatat(hold, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok())
    }

    /// Returns the names of the letters that are held, in no order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn held(&self) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        let Some(hold) = &self.parts.hold else { return Ok(names) };
        entries(&hold.reopen()?, |entry| names.push(OsString::from_vec(entry.name.to_vec())))
            .map_err(Error::io("read", hold.path()))?;
        Ok(names)
    }

    /// Removes a letter, and what is known of it, for good. A process that sends it goes on; returns whether there is
    /// one. `None` if there is no such letter.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`]: this is no name of a letter.
    pub fn delete(&self, name: &OsStr) -> Result<Option<bool>> {
        if !self.has(name)? {
            return Ok(None);
        }
        let is_sent = self.is_being_sent(name);
        locked::remove(&self.parts, name)?;
        self.sync()?;
        Ok(Some(is_sent))
    }

    /// Returns whether a process has a lock on a letter.
    #[must_use]
    pub fn is_being_sent(&self, name: &OsStr) -> bool {
        LockedLetter::is_locked(&self.parts, name)
    }

    /// Removes what is known of a letter that is there no more.
    pub fn forget(&self, name: &OsStr) {
        if locked::check_name(name).is_ok() && self.has(name).is_ok_and(|is_there| !is_there) {
            let _ = locked::remove(&self.parts, name); // or it is swept
        }
    }

    /// Makes removals last.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> Result<()> {
        self.parts.letters.sync()
    }

    /// Returns the folders in which a runner watches for new letters, of held ones, and of [`Queue::ask_flush`].
    #[must_use]
    pub fn watched(&self) -> [&Folder; 3] {
        let Parts { folder, letters, hold, .. } = &*self.parts;
        [letters, hold.as_ref().unwrap_or(folder), folder] // Queue::make has made `hold`
    }

    /// Returns whether there is a letter of this name.
    fn has(&self, name: &OsStr) -> Result<bool> {
        locked::check_name(name)?;
        let letters = &self.parts.letters;
        match fstatat(letters, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(Error::io("stat", &letters.path().join(name))(errno)),
        }
    }

    /// Makes a file that says something by being there.
    fn note(&self, folder: &Folder, name: &OsStr) -> Result<File> {
        let opened = retry_eintr(|| openat(folder, name, NOTE, FILE_MODE));
        opened.map(File::from).map_err(Error::io("open", &folder.path().join(name)))
    }
}

/// The error for a folder on the way to the queue that is not there.
fn missing(folder: &Folder, name: &OsStr) -> Error {
    let what = folder.path().join(name);
    Error::Temporary(format!("{}: No such file or directory", what.display()))
}
