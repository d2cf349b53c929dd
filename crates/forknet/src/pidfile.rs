//! The pid file: locked while the server lives, so that a second one sees it.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::debug;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, Result};

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
            let open = options.read(true).write(true).create(true).truncate(false).open(path);
            let mut file = open.map_err(Error::io(what()))?;
            lock(&file, &what())?;
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

impl Drop for PidFile {
    /// After dropping privileges the folder may be out of reach; an empty file is left then.
    fn drop(&mut self) {
        if self.owner == std::process::id() && std::fs::remove_file(&self.path).is_err() {
            let emptied = self.file.set_len(0);
            debug!("pid file {} not removed, emptied: {emptied:?}", self.path.display());
        }
    }
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

fn lock(file: &File, what: &str) -> Result<()> {
    match fcntl(file, FcntlArg::F_SETLK(&whole_file())) {
        Ok(_) => Ok(()),
        Err(Errno::EACCES | Errno::EAGAIN) => {
            let mut holder = whole_file();
            let pid = fcntl(file, FcntlArg::F_GETLK(&mut holder)).map_or(0, |_| holder.l_pid);
            Err(Error::Refused(format!("{what}: locked by the server with process id {pid}")))
        }
        Err(errno) => Err(Error::os(what)(errno)),
    }
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
