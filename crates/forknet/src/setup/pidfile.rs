//! The pid file, locked while the server runs, so that a second server detects it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use sys::owned_file::{Access, Opened, Rules};

use crate::error::{Error, Result, reason};
use crate::setup::owned_file;

/// How the file is opened: writable by its owner only, whatever the umask, because administrators
/// kill the pid in it.
const RULES: Rules = Rules {
    access: Access::ReadWrite,
    create: Some(Mode::from_bits_truncate(0o644)),
    owner: None,
    devices: false,
};
/// Longest wait for a lock whose holder is not the server named in the file, but one about to write
/// its id, or a cleanup helper.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of its tries to lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);
/// The owner of a file that this process does not remove; no process has this id.
const NO_PROCESS: u32 = 0;

/// A pid file that this process has locked. The owner's drop removes it; a child's drop only closes
/// it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
    owner: u32,
}

impl PidFile {
    /// Locks the file and writes this process's id into it.
    ///
    /// The lock is that of fcntl(2), which children do not inherit, so that children of a killed
    /// parent do not prevent the next server from starting.
    ///
    /// # Errors
    /// Another server has locked it; another user could have put it there ([`owned_file`]); the
    /// disk is full. A file that was created here is removed then.
    pub(crate) fn write(path: &Path) -> Result<PidFile> {
        let what = format!("pid file {}", path.display());
        loop {
            let Opened { file, is_new } = owned_file::open("pid file", path, RULES)?;
            let mut pid_file = PidFile { path: path.to_owned(), file, owner: NO_PROCESS };
            let locked = lock(&mut pid_file.file, &what);
            // Removes a new file that cannot be locked, but not one that another process has
            // locked.
            if is_new && matches!(locked, Err(Error::Os { .. })) {
                pid_file.owner = std::process::id();
            }
            locked?;
            if !is_still(&pid_file.file, path) {
                continue; // its owner removed it during the wait for the lock
            }
            pid_file.owner = std::process::id();
            pid_file.store().map_err(Error::io(what))?;
            return Ok(pid_file);
        }
    }

    /// Writes the owner's id.
    fn store(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(format!("{}\n", self.owner).as_bytes())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves its removal to another process, and keeps the lock.
    pub(crate) fn leave_to_helper(&mut self) {
        self.owner = NO_PROCESS;
    }
}

impl Drop for PidFile {
    /// Removes the file while it is locked, so that it cannot be another server's.
    fn drop(&mut self) {
        if self.owner == std::process::id()
            && is_still(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            let emptied = self.file.set_len(0);
            let (path, why) = (self.path.display(), reason(&error));
            warn!("pid file {path} not removed: {why}; emptied: {emptied:?}");
        }
    }
}

/// Checks that a file which is there already can be taken, and leaves it as it is, locked or not.
///
/// # Errors
/// As [`PidFile::write`], but for another server.
pub(crate) fn check(path: &Path) -> Result<()> {
    owned_file::open("pid file", path, Rules { create: None, ..RULES }).map(drop)
}

/// Returns true, in the cleanup helper of `server`, if that server has the pid file locked, or if
/// this process has locked it now. Returns false for a file that the next server has locked.
pub(crate) fn is_ours(file: impl AsFd, server: u32) -> bool {
    let file = file.as_fd();
    fcntl(file, FcntlArg::F_SETLK(&whole_file())).is_ok()
        || holder(file).is_some_and(|pid| u32::try_from(pid) == Ok(server))
}

/// Returns the other process that has the file locked.
fn holder(file: impl AsFd) -> Option<libc::pid_t> {
    let mut lock = whole_file();
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Locks the file; the error names the server that has it locked. Waits for the cleanup helper of a
/// killed server, which locks the file to remove it.
fn lock(file: &mut File, what: &str) -> Result<()> {
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match fcntl(&*file, FcntlArg::F_SETLK(&whole_file())) {
            Ok(_) => return Ok(()),
            Err(Errno::EACCES | Errno::EAGAIN) => {}
            Err(errno) => return Err(Error::os(what)(errno)),
        }
        let holder = holder(&*file);
        if holder.is_some() && holder == written(file) || Instant::now() >= until {
            let pid = holder.unwrap_or(0);
            let text = format!("{what}: locked by the server with process id {pid}");
            return Err(Error::Refused(text));
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

/// Reads the process id in the file.
fn written(file: &mut File) -> Option<libc::pid_t> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
