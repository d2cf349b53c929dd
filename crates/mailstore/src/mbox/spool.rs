//! The file of an mbox in its folder: its locks, and the new file that takes its place.
//!
//! ```text
//!  FILE              the mbox; fcntl(2) locks it while it is read at the begin and changed at the end
//!  FILE.lock         so does this file's existence, as a second lock
//!  .FILE.pop3        its flock(2) is the session's: one at a time, freed by the kernel; the file stays
//!  .FILE.pop3-new    the next FILE, until rename(2)
//!  .FILE.append      what a delivery is appending
//!  .FILE.draft-lock  the next FILE.lock, until link(2)
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, UnlinkatFlags, fchown, fsync, unlinkat};
use sys::lease::is_open_for_writing;

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::mbox::fault::{is_killed, point};
use crate::mbox::locks::{Locks, WithoutDotlock, is_at, lock_record};

/// Time between two attempts to have a lock.
const RETRY: Duration = Duration::from_millis(20);
/// Attempts to open one file and find it there still: more often it is not replaced.
const MAX_REPLACED: u32 = 100;
/// open(2) flags: a symbolic link is not followed, a FIFO not waited for.
const SAFE: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
/// Rights of the group, bits of the mode.
const GROUP: u32 = 0o070;

/// An mbox in its folder, with what this process has of its locks.
#[derive(Debug)]
pub struct Spool {
    folder: Folder,
    name: OsString,
    path: PathBuf,
    /// The user id of its owner.
    owner: u32,
    session: Option<OwnedFd>,
    held: Option<Locks>,
    /// The next file, not in its place yet.
    draft: Option<File>,
}

impl Spool {
    /// Of the file `name` in a folder, of the user with this id.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn new(folder: &Folder, name: &OsStr, owner: u32) -> Result<Spool> {
        let (folder, path) = (folder.reopen()?, folder.path().join(name));
        let name = name.to_owned();
        Ok(Spool { folder, name, path, owner, session: None, held: None, draft: None })
    }

    /// Returns the path of the mbox, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the session's lock.
    ///
    /// # Errors
    /// [`Error::InUse`] while another session has it; files cannot be made in the folder.
    pub fn begin(&mut self) -> Result<()> {
        let name = self.beside(b".", b".pop3");
        let path = self.path.with_file_name(&name);
        for _ in 0..MAX_REPLACED {
            let flags = SAFE | OFlag::O_RDWR | OFlag::O_CREAT;
            let open =
                || openat(&self.folder, name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
            let file = retry_eintr(open).map_err(Error::io("open", &path))?;
            must_belong(&fstat(&file).map_err(Error::io("stat", &path))?, self.owner, &path)?;
            match sys::flock::try_lock(&file) {
                Ok(()) => {}
                Err(Errno::EWOULDBLOCK) => return Err(self.in_use()),
                Err(errno) => return Err(Error::io("lock", &path)(errno)),
            }
            // It stays for good; another program may have removed it meanwhile.
            let stat = fstat(&file).map_err(Error::io("stat", &path))?;
            if is_at(&self.folder, &name, &stat).map_err(Error::io("stat", &path))? {
                self.session = Some(file);
                // What a session has left that was killed.
                self.discard();
                return Ok(());
            }
        }
        Err(self.in_use())
    }

    /// Takes both locks of the mbox, and returns it open for reading; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::InUse`] where another program has one of them for all of `limit`; it is no regular file, or
    /// another user's; a lock cannot be made.
    pub fn lock(&mut self, limit: Duration) -> Result<Option<File>> {
        self.unlock(); // asked for twice, they are taken again: to drop them would leave the lock's file
        let until = Instant::now() + limit;
        loop {
            match self.try_lock()? {
                Tried::Locked => return self.open(OFlag::O_RDONLY),
                Tried::Missing => return Ok(None),
                Tried::Busy if Instant::now() >= until => return Err(self.in_use()),
                Tried::Busy => std::thread::sleep(RETRY),
            }
        }
    }

    fn try_lock(&mut self) -> Result<Tried> {
        let Some(file) = self.open(OFlag::O_RDWR)? else { return Ok(Tried::Missing) };
        self.held = Locks::try_lock(&self.folder, &self.name, file, WithoutDotlock::Fail)?;
        Ok(if self.held.is_some() { Tried::Locked } else { Tried::Busy })
    }

    /// Gives both locks back.
    pub fn unlock(&mut self) {
        self.discard();
        if let Some(held) = self.held.take() {
            held.release(&self.folder);
        }
    }

    /// Makes the next file, empty. Both locks are held.
    ///
    /// # Errors
    /// It cannot be made; the locks are not held.
    pub fn draft(&mut self) -> Result<File> {
        self.discard();
        let name = self.draft_name();
        let path = self.path.with_file_name(&name);
        if self.held.is_none() || self.session.is_none() {
            return Err(self.not_locked());
        }
        let make = || {
            point("draft open")?;
            let flags = SAFE | OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            retry_eintr(|| openat(&self.folder, name.as_os_str(), flags, mode))
        };
        let made = File::from(make().map_err(Error::io("make", &path))?);
        let copy = made.try_clone().map_err(Error::io("copy a descriptor of", &path));
        self.draft = Some(made);
        copy
    }

    /// Puts the next file, which is on the disk then, in the place of the mbox, with its owner, mode and
    /// times; locked, as that is.
    ///
    /// # Errors
    /// The mbox is unchanged.
    pub fn commit(&mut self) -> Result<()> {
        let not_locked = self.not_locked();
        let is_there = self
            .held
            .as_ref()
            .map_or(Ok(false), |held| is_at(&self.folder, &self.name, &held.stat));
        let (Some(held), Some(draft)) = (&mut self.held, &self.draft) else {
            return Err(not_locked);
        };
        let name = [b".", self.name.as_bytes(), b".pop3-new"].concat();
        let path = self.path.with_file_name(OsStr::from_bytes(&name));
        if !is_there.map_err(Error::io("stat", &self.path))? {
            let why = "was replaced by another program, which has not looked for the locks";
            return Err(Error::Temporary(format!("{}: {why}", self.path.display())));
        }
        take_after(draft, &held.stat, &path)?;
        let locked = point("lock draft").and_then(|()| lock_record(draft));
        if !locked.map_err(Error::io("lock", &path))? {
            return Err(Error::InUse { what: path.display().to_string() });
        }
        let synced = point("fsync draft").and_then(|()| retry_eintr(|| fsync(draft)));
        synced.map_err(Error::io("fsync", &path))?;
        let rename = || {
            point("rename")?;
            renameat(&self.folder, OsStr::from_bytes(&name), &self.folder, self.name.as_os_str())
        };
        rename().map_err(Error::io("rename", &path))?;
        if let Some(draft) = self.draft.take() {
            held.file = draft; // the old one's lock ends here, when nothing is found at its name
        }
        held.stat = fstat(&held.file).map_err(Error::io("stat", &self.path))?;
        Ok(())
    }

    /// Waits until the new file is on the disk in the place of the old one.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> Result<()> {
        point("fsync folder").map_err(Error::io("fsync", self.folder.path()))?;
        self.folder.sync()
    }

    /// Opens the mbox to append to it. Both locks are held.
    ///
    /// # Errors
    /// The locks are not held; open(2) fails.
    pub fn append(&mut self) -> Result<File> {
        if self.held.is_none() {
            return Err(self.not_locked());
        }
        let file = self.open(OFlag::O_WRONLY | OFlag::O_APPEND)?;
        file.ok_or(Errno::ENOENT).map_err(Error::io("append to", &self.path))
    }

    /// Returns whether a process has this file open for writing that was the mbox before: it may have
    /// waited for the lock, and append to it. Where that cannot be known, it is taken for granted.
    #[must_use]
    pub fn is_written(&self, file: &File) -> bool {
        is_open_for_writing(file).unwrap_or(true)
    }

    /// Gives all locks back.
    pub fn end(&mut self) {
        if is_killed() {
            return;
        }
        self.unlock();
        self.session = None;
    }

    /// Removes the next file.
    fn discard(&mut self) {
        self.draft = None;
        if self.session.is_some() && !is_killed() {
            let name = self.draft_name();
            // ENOENT as a rule
            let _ = unlinkat(&self.folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    fn draft_name(&self) -> OsString {
        self.beside(b".", b".pop3-new")
    }

    /// Opens the mbox; `None` where there is none.
    fn open(&self, how: OFlag) -> Result<Option<File>> {
        match retry_eintr(|| openat(&self.folder, self.name.as_os_str(), SAFE | how, Mode::empty()))
        {
            Ok(file) => {
                let stat = fstat(&file).map_err(Error::io("stat", &self.path))?;
                must_belong(&stat, self.owner, &self.path)?;
                Ok(Some(File::from(file)))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::io("open", &self.path)(errno)),
        }
    }

    fn beside(&self, before: &[u8], behind: &[u8]) -> OsString {
        OsStr::from_bytes(&[before, self.name.as_bytes(), behind].concat()).to_owned()
    }

    fn in_use(&self) -> Error {
        Error::InUse { what: self.path.display().to_string() }
    }

    /// What a caller gets that has not taken the locks.
    fn not_locked(&self) -> Error {
        Error::Refused(format!("{}: not locked by this session", self.path.display()))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.end();
    }
}

enum Tried {
    Locked,
    Missing,
    Busy,
}

/// Checks that a file is a regular one of this user's.
fn must_belong(stat: &FileStat, owner: u32, path: &Path) -> Result<()> {
    let kind = SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT);
    let path = path.display();
    if kind != SFlag::S_IFREG {
        return Err(Error::Temporary(format!("{path}: is not a regular file")));
    }
    if stat.st_uid != owner {
        let why = format!("{path}: belongs to uid {}, not {owner}", stat.st_uid);
        return Err(Error::Temporary(why));
    }
    Ok(())
}

/// Gives a file the group, the mode and the times of another, which is the same user's. By the times a mail
/// reader knows whether there is new mail.
fn take_after(file: &File, old: &FileStat, path: &Path) -> Result<()> {
    let made = fstat(file).map_err(Error::io("stat", path))?;
    let rights = old.st_mode & 0o777;
    if made.st_gid != old.st_gid
        && let Err(errno) = fchown(file, None, Some(Gid::from_raw(old.st_gid)))
        // A group without rights is no loss.
        && rights & GROUP != 0
    {
        return Err(Error::io("chown", path)(errno));
    }
    let mode = Mode::from_bits_truncate(rights);
    fchmod(file, mode).map_err(Error::io("chmod", path))?;
    let (read, written) = (
        TimeSpec::new(old.st_atime, old.st_atime_nsec),
        TimeSpec::new(old.st_mtime, old.st_mtime_nsec),
    );
    futimens(file, &read, &written).map_err(Error::io("utimens", path))
}
