//! The pid file: locked while the server lives, so that a second one sees it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, Result, reason};

/// The file's permissions, whatever the umask: nobody else may write whom to kill into it.
const MODE: u32 = 0o644;
/// How long a start waits for a lock whose holder is not the server that stands in the file: one
/// that is about to write its id, or a caretaker.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

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
    pub(crate) fn write(path: &Path) -> Result<PidFile> {
        let what = || format!("pid file {}", path.display());
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(MODE);
            let mut file = options.open(path).map_err(Error::io(what()))?;
            lock(&mut file, &what())?;
            if !is_still(&file, path) {
                continue; // its last owner removed it while we waited for the lock
            }
            let owner = std::process::id();
            let written = file.set_len(0).and_then(|()| file.rewind());
            let written = written.and_then(|()| file.write_all(format!("{owner}\n").as_bytes()));
            written.map_err(Error::io(what()))?;
            return Ok(PidFile { path: path.to_owned(), file, owner });
        }
    }
}

impl PidFile {
    /// Leaves its removal to another process, which gets the path. The lock stays here.
    pub(crate) fn entrust(&mut self) -> &Path {
        self.owner = 0;
        &self.path
    }
}

impl Drop for PidFile {
    /// Removed while it is locked, so that it cannot be another server's by now.
    fn drop(&mut self) {
        if self.owner == std::process::id()
            && is_still(&self.file, &self.path)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            let emptied = self.file.set_len(0);
            let (path, why) = (self.path.display(), reason(&error));
            warn!("pid file {path} not removed: {why}; emptied: {emptied:?}");
        }
    }
}

/// For the caretaker of a server's pid file: true when that server has it locked, or nobody has
/// and this process has locked it now. A file that the next server has taken over is not ours.
pub(crate) fn is_ours(file: impl AsFd, server: u32) -> bool {
    let file = file.as_fd();
    fcntl(file, FcntlArg::F_SETLK(&whole_file())).is_ok()
        || holder(file).is_some_and(|pid| u32::try_from(pid) == Ok(server))
}

/// Who has the file locked, another than this process.
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

/// Locks the file, or tells whose it is. The caretaker of a server that was killed has it locked
/// while it removes it, and for that a new server waits.
fn lock(file: &mut File, what: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
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
        std::thread::sleep(PAUSE);
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
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
