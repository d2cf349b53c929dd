//! Dovecot's lock of a file that it shares with other programs: a file of the same name and `.lock`, which only one of
//! them can make, with its process id and host in it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::signal::kill;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};

/// Longest wait for the lock.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two attempts.
const RETRY: Duration = Duration::from_millis(20);
/// Age after which a lock is one that its process has left behind. Dovecot's limit is the same.
const STALE_AGE: Duration = Duration::from_secs(120);
/// Most bytes of the file that are read: a process id and a host.
const MAX_OWNER: u64 = 300;
/// open(2) flags to make it.
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// open(2) flags to read it.
const FILE: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// The lock of a file, released when it is dropped.
#[derive(Debug)]
pub(crate) struct DovecotLock {
    folder: OwnedFd,
    name: String,
    /// Inode of the lock and time of its last change, because another program may have replaced it.
    made: (u64, i64, i64),
}

impl DovecotLock {
    /// Locks the file of this name in a folder, and waits up to [`TIMEOUT`]. `path` is the folder's, for messages.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it; [`Error::Io`].
    pub(crate) fn take(folder: &OwnedFd, name: &str, path: &Path) -> Result<DovecotLock> {
        let name = format!("{name}.lock");
        let file = path.join(&name);
        let folder = folder.try_clone().map_err(Error::io("dup", path))?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            match retry_eintr(|| openat(&folder, name.as_str(), NEW_FILE, mode)) {
                Ok(made) => return DovecotLock::made(folder, name, File::from(made), &file),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::io("create", &file)(errno)),
            }
            if is_stale(&folder, &name) {
                log::warn!("{}: removed, its process has ended", file.display());
                let removed = unlinkat(&folder, name.as_str(), UnlinkatFlags::NoRemoveDir);
                match removed {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(Error::io("unlink", &file)(errno)),
                }
            } else if Instant::now() >= deadline {
                return Err(Error::InUse { what: file.display().to_string() });
            } else {
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Says in the file whose it is, as Dovecot does.
    fn made(folder: OwnedFd, name: String, mut made: File, file: &Path) -> Result<DovecotLock> {
        let owner = format!("{}:{}", std::process::id(), host());
        // A full disk takes an empty file, and that is a lock, too.
        let _ = made.write_all(owner.as_bytes());
        let stat = fstat(&made).map_err(Error::io("stat", file))?;
        Ok(DovecotLock { folder, name, made: version(&stat) })
    }
}

impl Drop for DovecotLock {
    fn drop(&mut self) {
        let stat = fstatat(&self.folder, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| version(&stat) == self.made) {
            let _ = unlinkat(&self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn version(stat: &FileStat) -> (u64, i64, i64) {
    (stat.st_ino, stat.st_ctime, stat.st_ctime_nsec)
}

fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |it| it.to_string_lossy().into())
}

/// Whether the process that made a lock on this machine has ended, or the lock is old.
fn is_stale(folder: &impl AsFd, name: &str) -> bool {
    let Ok(stat) = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return false };
    let made = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    if SystemTime::now().duration_since(made).is_ok_and(|age| age > STALE_AGE) {
        return true;
    }
    let Ok(file) = retry_eintr(|| openat(folder, name, FILE, Mode::empty())) else { return false };
    let mut owner = String::new();
    if File::from(file).take(MAX_OWNER).read_to_string(&mut owner).is_err() {
        return false;
    }
    let Some((pid, its_host)) = owner.trim_end().split_once(':') else { return false };
    let pid = pid.parse::<i32>().ok().filter(|pid| *pid > 0);
    its_host == host() && pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, FileTimes};
    use testkit::TempDir;

    fn folder(dir: &TempDir) -> OwnedFd {
        File::open(dir.path()).unwrap().into()
    }

    fn take(dir: &TempDir) -> Result<DovecotLock> {
        DovecotLock::take(&folder(dir), "list", dir.path())
    }

    #[test]
    fn one_process_has_the_lock_and_says_who_it_is() {
        let dir = TempDir::new();
        let file = dir.path().join("list.lock");
        let held = take(&dir).unwrap();
        let owner = format!("{}:{}", std::process::id(), host());
        assert_eq!(fs::read_to_string(&file).unwrap(), owner);
        assert!(matches!(take(&dir), Err(Error::InUse { .. })));
        drop(held);
        assert!(!file.exists());
        assert!(take(&dir).is_ok());
    }

    #[test]
    fn a_lock_that_its_process_has_left_is_removed() {
        let dir = TempDir::new();
        let file = dir.path().join("list.lock");
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        fs::write(&file, format!("{}:{}", ended.id(), host())).unwrap();
        drop(take(&dir).unwrap());
        // One of another machine counts by its age.
        fs::write(&file, format!("{}:another.test", ended.id())).unwrap();
        assert!(take(&dir).is_err());
        let old = SystemTime::now() - STALE_AGE - Duration::from_secs(1);
        let times = FileTimes::new().set_modified(old);
        File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
        drop(take(&dir).unwrap());
        assert!(!file.exists());
    }

    #[test]
    fn a_lock_that_was_taken_away_is_not_released() {
        let dir = TempDir::new();
        let held = take(&dir).unwrap();
        let file = dir.path().join("list.lock");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "another process").unwrap();
        drop(held);
        assert!(file.exists());
    }
}
