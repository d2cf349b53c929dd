//! The lock of a maildrop on a file system of the network, which other machines have too.
//!
//! flock(2) on a folder is local to each machine there. A record lock (fcntl(2)) on a file is not, so that
//! such a Maildir has one more file, which stays. It is an open file description lock: it ends with the
//! process, and not when another descriptor of the file is closed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};

/// The name of the file in the Maildir.
const NAME: &str = "pop3d.lock";
/// open(2) flags for it: a symbolic link is not followed, a FIFO not waited for.
const FILE: OFlag = OFlag::O_RDWR
    .union(OFlag::O_CREAT)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);
/// Type numbers of file systems that have, or may have, their files on another machine: NFS, three of SMB,
/// AFS, FUSE (statfs(2)).
const REMOTE: [FsType; 6] = [
    FsType(0x6969),
    FsType(0x517b),
    FsType(0xff53_4d42),
    FsType(0xfe53_4d42),
    FsType(0x5346_414f),
    FsType(0x6573_5546),
];

/// Locks the maildrop of a Maildir for other machines; `None` on a file system of this machine alone.
///
/// # Errors
/// [`Error::InUse`] while another session has the lock; [`Error::Io`], such as ENOLCK from a server without
/// locks.
pub(crate) fn lock_if_remote(folder: &impl AsFd, path: &Path) -> Result<Option<OwnedFd>> {
    let is_remote = is_remote(folder).map_err(Error::io("statfs", path))?;
    if is_remote { lock(folder, path).map(Some) } else { Ok(None) }
}

/// Returns whether a file may be on another machine.
///
/// # Errors
/// As fstatfs(2).
pub(crate) fn is_remote(file: &impl AsFd) -> nix::Result<bool> {
    Ok(REMOTE.contains(&fstatfs(file)?.filesystem_type()))
}

fn lock(folder: &impl AsFd, path: &Path) -> Result<OwnedFd> {
    let file = path.join(NAME);
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let fd = retry_eintr(|| openat(folder, NAME, FILE, mode)).map_err(Error::io("open", &file))?;
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match retry_eintr(|| fcntl(&fd, FcntlArg::F_OFD_SETLK(&whole))) {
        Ok(_) => Ok(fd),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            Err(Error::InUse { what: path.display().to_string() })
        }
        Err(errno) => Err(Error::io("lock", &file)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use testkit::TempDir;

    #[test]
    fn one_session_has_the_lock_and_its_end_frees_it() {
        let dir = TempDir::new();
        let (one, other) = (File::open(dir.path()).unwrap(), File::open(dir.path()).unwrap());
        let held = lock(&one, dir.path()).unwrap();
        assert!(matches!(lock(&other, dir.path()), Err(Error::InUse { .. })));
        drop(File::open(dir.path().join(NAME)).unwrap()); // frees no lock of this kind
        assert!(matches!(lock(&other, dir.path()), Err(Error::InUse { .. })));
        drop(held);
        assert!(lock(&other, dir.path()).is_ok());
    }

    #[test]
    fn a_link_in_place_of_the_file_is_not_followed() {
        let dir = TempDir::new();
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(NAME)).unwrap();
        let folder = File::open(dir.path()).unwrap();
        assert!(matches!(lock(&folder, dir.path()), Err(Error::Io { .. })));
        assert!(!fs::exists(elsewhere).unwrap());
    }

    #[test]
    fn a_file_system_of_this_machine_needs_no_file() {
        let dir = TempDir::new();
        let folder = File::open(dir.path()).unwrap();
        assert!(lock_if_remote(&folder, dir.path()).unwrap().is_none());
        assert!(!fs::exists(dir.path().join(NAME)).unwrap());
    }
}
