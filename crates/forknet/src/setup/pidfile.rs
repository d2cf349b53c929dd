//! The pid file: locked while the server lives, so that a second one sees it.

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

/// How the file is opened: writable by its owner only, whatever the umask, because administrators kill
/// the pid in it.
const RULES: Rules = Rules {
    access: Access::ReadWrite,
    create: Some(Mode::from_bits_truncate(0o644)),
    owner: None,
    devices: false,
};
/// How long a start waits for a lock whose holder is not the server that stands in the file: one
/// that is about to write its id, or a cleanup helper.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it looks meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);
/// The owner of a file that this process does not remove: no process has this id.
const NO_PROCESS: u32 = 0;

/// A pid file that this process has locked. Its owner removes it by dropping it; a child that drops
/// its copy only closes it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
    owner: u32,
}

impl PidFile {
    /// Locks the file and writes this process's id into it.
    ///
    /// The lock is fcntl(2)'s, which a child of fork does not inherit: children that outlive a
    /// killed parent do not keep the next server from starting.
    ///
    /// # Errors
    /// Another server has it; it is no file of ours ([`owned_file`]); the disk is full. Nothing that was
    /// made here is left then.
    pub(crate) fn write(path: &Path) -> Result<PidFile> {
        let what = format!("pid file {}", path.display());
        loop {
            let Opened { file, is_new } = owned_file::open("pid file", path, RULES)?;
            let mut pid_file = PidFile { path: path.to_owned(), file, owner: NO_PROCESS };
            let locked = lock(&mut pid_file.file, &what);
            // One that was made just now goes if it cannot be locked at all; one that another process has
            // locked is that one's.
            if is_new && matches!(locked, Err(Error::Os { .. })) {
                pid_file.owner = std::process::id();
            }
            locked?;
            if !is_still(&pid_file.file, path) {
                continue; // its last owner removed it while we waited for the lock
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

    /// Leaves its removal to another process. The lock stays here.
    pub(crate) fn leave_to_helper(&mut self) {
        self.owner = NO_PROCESS;
    }
}

impl Drop for PidFile {
    /// Removed while it is locked, so that it cannot be another server's by now.
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

/// For the cleanup helper of a server: true when that server has the pid file locked, or no process had
/// and this one has locked it now. A file that the next server has taken over is not ours.
pub(crate) fn is_ours(file: impl AsFd, server: u32) -> bool {
    let file = file.as_fd();
    fcntl(file, FcntlArg::F_SETLK(&whole_file())).is_ok()
        || holder(file).is_some_and(|pid| u32::try_from(pid) == Ok(server))
}

/// The process, other than this one, that has the file locked.
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

/// Locks the file, or tells whose it is. The cleanup helper of a server that was killed has it locked
/// while it removes it, and for that a new server waits.
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

/// The process id that stands in the file.
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
