//! The lock of a maildrop that is a Maildir: a record lock (fcntl(2)) on a file in it, `pop3d.lock`.
//!
//! Only the owner of the Maildir can open the file. A lock on the folder itself could be taken, and never be
//! released, by every user who may read it. It is an open file description lock: it ends with the process, and
//! not when another descriptor of the file is closed. On a file system of the network other machines see it,
//! which flock(2) on a folder does not offer.
//!
//! Where there is no room for the file, or nothing can be made, the folder is locked in its place, because a
//! full disk is a reason to remove letters. That file is empty and stays, so this is rare.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

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
/// open(2) flags for the folder, where it is locked.
const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// Rights of group and others. Who can open the file could lock it.
const OTHERS: u32 = 0o077;
/// Most attempts to put a file of the owner's in the place of another one.
const MAX_ATTEMPTS: usize = 8;

/// The lock of one session, released when it is dropped.
#[derive(Debug)]
pub(crate) enum SessionLock {
    File { _locked: OwnedFd },
    Folder { _locked: OwnedFd },
}

/// Locks the maildrop of a Maildir. `path` is for messages.
///
/// # Errors
/// [`Error::InUse`] while another session has the lock; [`Error::Io`], such as ENOLCK from a server without
/// locks.
pub(crate) fn lock(folder: &impl AsFd, path: &Path) -> Result<SessionLock> {
    let name = path.join(NAME);
    for _ in 0..MAX_ATTEMPTS {
        let opened = retry_eintr(|| openat(folder, NAME, FILE, Mode::S_IRUSR | Mode::S_IWUSR));
        let file = match opened {
            Ok(file) => file,
            // Another user's, or a link: not the lock. Only who may write to the Maildir can put it there.
            Err(errno @ (Errno::EACCES | Errno::ELOOP | Errno::ENXIO)) => {
                match unlinkat(folder, NAME, UnlinkatFlags::NoRemoveDir) {
                    Ok(()) => continue,
                    Err(_) => return lock_folder(folder, path, errno),
                }
            }
            Err(errno @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EPERM)) => {
                return lock_folder(folder, path, errno);
            }
            Err(errno) => return Err(Error::io("open", &name)(errno)),
        };
        let stat = fstat(&file).map_err(Error::io("stat", &name))?;
        if !is_ours(&stat) {
            let removed = unlinkat(folder, NAME, UnlinkatFlags::NoRemoveDir);
            removed.map_err(Error::io("unlink", &name))?;
            continue;
        }
        if stat.st_mode & OTHERS != 0 {
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            fchmod(&file, mode).map_err(Error::io("chmod", &name))?;
        }
        lock_file(&file, path)?;
        // A file that was removed meanwhile is no lock for the next session.
        match fstatat(folder, NAME, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => {
                return Ok(SessionLock::File { _locked: file });
            }
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Error::io("stat", &name)(errno)),
        }
    }
    Err(Error::InUse { what: path.display().to_string() })
}

/// A regular file of the user who runs this.
fn is_ours(stat: &FileStat) -> bool {
    let kind = SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT);
    kind == SFlag::S_IFREG && stat.st_uid == geteuid().as_raw()
}

fn lock_file(file: &OwnedFd, path: &Path) -> Result<()> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match retry_eintr(|| fcntl(file, FcntlArg::F_OFD_SETLK(&whole))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            Err(Error::InUse { what: path.display().to_string() })
        }
        Err(errno) => Err(Error::io("lock", &path.join(NAME))(errno)),
    }
}

/// Locks the folder, because the file cannot be made.
fn lock_folder(folder: &impl AsFd, path: &Path, why: Errno) -> Result<SessionLock> {
    let name = path.join(NAME);
    log::warn!("{}: {}; the folder is locked in its place", name.display(), why.desc());
    let open = || openat(folder, ".", FOLDER, Mode::empty());
    let again = retry_eintr(open).map_err(Error::io("open", path))?;
    match sys::flock::try_lock(&again) {
        Ok(()) => Ok(SessionLock::Folder { _locked: again }),
        Err(Errno::EWOULDBLOCK) => Err(Error::InUse { what: path.display().to_string() }),
        Err(errno) => Err(Error::io("lock", path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use testkit::{TempDir, root_can_judge};

    fn is_in_use(dir: &TempDir) -> bool {
        let folder = File::open(dir.path()).unwrap();
        match lock(&folder, dir.path()) {
            Ok(_) => false,
            Err(Error::InUse { .. }) => true,
            Err(error) => panic!("{error}"),
        }
    }

    fn locked(dir: &TempDir) -> SessionLock {
        lock(&File::open(dir.path()).unwrap(), dir.path()).unwrap()
    }

    #[test]
    fn one_session_has_the_lock_and_its_end_frees_it() {
        let dir = TempDir::new();
        let held = locked(&dir);
        assert!(matches!(held, SessionLock::File { .. }));
        assert!(is_in_use(&dir));
        drop(File::open(dir.path().join(NAME)).unwrap()); // frees no lock of this kind
        assert!(is_in_use(&dir));
        drop(held);
        assert!(!is_in_use(&dir));
    }

    #[test]
    fn the_file_is_the_owners_alone_and_its_rights_are_put_right() {
        let dir = TempDir::new();
        drop(locked(&dir));
        let file = dir.path().join(NAME);
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        drop(locked(&dir));
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_lock_on_the_folder_holds_no_session_up() {
        let dir = TempDir::new();
        let folder = File::open(dir.path()).unwrap();
        sys::flock::try_lock(&folder).unwrap();
        assert!(!is_in_use(&dir));
    }

    #[test]
    fn what_others_have_put_in_the_place_of_the_file_is_not_the_lock() {
        let dir = TempDir::new();
        let (file, elsewhere) = (dir.path().join(NAME), dir.path().join("elsewhere"));
        symlink(&elsewhere, &file).unwrap();
        drop(locked(&dir));
        assert!(!fs::exists(&elsewhere).unwrap());
        assert!(fs::symlink_metadata(&file).unwrap().is_file());
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        drop(locked(&dir));
        assert!(fs::symlink_metadata(&file).unwrap().is_file());
        if !root_can_judge() {
            return;
        }
        chown(&file, Some(61_002), None).unwrap();
        let theirs = File::options().write(true).open(&file).unwrap();
        lock_file(&theirs.into(), dir.path()).unwrap();
        assert!(!is_in_use(&dir));
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_an_error() {
        let dir = TempDir::new();
        fs::create_dir(dir.path().join(NAME)).unwrap();
        let folder = File::open(dir.path()).unwrap();
        assert!(matches!(lock(&folder, dir.path()), Err(Error::Io { .. })));
    }

    #[test]
    fn two_sessions_exclude_each_other_where_no_file_can_be_made() {
        let dir = TempDir::new();
        let folder = File::open(dir.path()).unwrap();
        let first = lock_folder(&folder, dir.path(), Errno::ENOSPC).unwrap();
        let second = lock_folder(&folder, dir.path(), Errno::ENOSPC);
        assert!(matches!(second, Err(Error::InUse { .. })));
        drop(first);
        assert!(lock_folder(&folder, dir.path(), Errno::ENOSPC).is_ok());
    }
}
