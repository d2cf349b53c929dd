//! `FILE.lock`: the lock of an mbox that is a file's existence, known to every program for mail.
//!
//! It is made under another name and linked to its own (link(2)), which one process alone can do, on a file
//! system of the network too. Its text is the process id of its holder. One is stale that is older than five
//! minutes, or whose holder is a process of this machine and has ended, by itself or with the machine.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::signal::kill;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, UnlinkatFlags, getpid, linkat, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::Error;
use crate::mbox::fault::point;
use crate::remote_fs::is_remote;

/// Age in seconds from which a lock is stale: its holder would have touched it.
const STALE: i64 = 5 * 60;
/// Longest text of a lock in bytes: a process id.
const MAX_TEXT: usize = 32;
/// Behind the name of the mbox, with a dot before it: the lock before it has its name, and a stale one.
const DRAFT: &[u8] = b".draft-lock";
const STALE_LOCK: &[u8] = b".stale-lock";
/// open(2) flags to make a file, and to read one.
const MAKE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// A lock that this process has, until [`Dotlock::release`].
#[derive(Debug)]
pub(crate) struct Dotlock {
    name: OsString,
    inode: u64,
    /// The lock's file, open: so that no other one has its inode.
    _file: File,
}

impl Dotlock {
    /// Makes the lock of the mbox with this name in a folder; `None` while another process has it. This
    /// process has the record lock of the mbox, so that the other names are its own.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn try_lock(folder: &impl AsFd, mbox: &OsStr) -> nix::Result<Option<Dotlock>> {
        let (name, draft) = (beside(b"", mbox, b".lock"), beside(b".", mbox, DRAFT));
        point("dotlock open")?;
        remove(folder, &draft)?; // of a process that was killed
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
        let made = retry_eintr(|| openat(folder, draft.as_os_str(), MAKE, mode))?;
        let mut made = File::from(made);
        let inode = fstat(&made)?.st_ino;
        let locked = write_id(&mut made).and_then(|()| {
            Ok(link(folder, &draft, &name, &made)?
                || (remove_stale(folder, (mbox, &name), &made)?
                    && link(folder, &draft, &name, &made)?))
        });
        let removed = remove(folder, &draft);
        let is_locked = locked?;
        if let Err(errno) = removed {
            // A lock that this process does not know of would keep the next letter out.
            let _ = if is_locked { remove(folder, &name) } else { Ok(()) };
            return Err(errno);
        }
        Ok(is_locked.then_some(Dotlock { name, inode, _file: made }))
    }

    /// Returns the lock's path, for messages.
    pub(crate) fn path(mbox: &Path) -> PathBuf {
        mbox.with_file_name(beside(b"", mbox.file_name().unwrap_or_default(), b".lock"))
    }

    /// Removes the lock, if it is this process's own still.
    pub(crate) fn release(&self, folder: &impl AsFd) {
        let removed = match stat(folder, &self.name) {
            Ok(there) if there.st_ino == self.inode => {
                unlinkat(folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
            }
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        if let Err(errno) = removed {
            log::warn!("{}", Error::io("unlink", Path::new(&self.name))(errno));
        }
    }
}

/// Returns the name of a file beside the mbox.
fn beside(before: &[u8], mbox: &OsStr, behind: &[u8]) -> OsString {
    OsStr::from_bytes(&[before, mbox.as_bytes(), behind].concat()).to_owned()
}

/// Removes a file, if it is there.
fn remove(folder: &impl AsFd, name: &OsStr) -> nix::Result<()> {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

fn write_id(file: &mut File) -> nix::Result<()> {
    point("dotlock write")?;
    let text = format!("{}\n", getpid());
    // A write that writes nothing has no errno.
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    file.write_all(text.as_bytes()).map_err(errno)
}

/// Gives the file a second name, the lock's; returns false where the lock is there.
fn link(folder: &impl AsFd, draft: &OsStr, name: &OsStr, made: &File) -> nix::Result<bool> {
    point("dotlock link")?;
    let linked = linkat(folder, draft, folder, name, AtFlags::empty());
    // On a file system of the network the answer may get lost.
    let stat = fstat(made)?;
    match linked {
        _ if stat.st_nlink == 2 => Ok(true),
        Ok(()) | Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn stat(folder: &impl AsFd, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Removes the lock if it is stale. `now` was made just now: by the clock of the file system.
fn remove_stale(
    folder: &impl AsFd,
    (mbox, name): (&OsStr, &OsStr),
    now: &File,
) -> nix::Result<bool> {
    let seen = match stat(folder, name) {
        Err(Errno::ENOENT) => return Ok(true),
        seen => seen?,
    };
    let age = fstat(now)?.st_mtime - seen.st_mtime;
    let is_ours = !is_remote(folder).unwrap_or(true);
    if age <= oldest_alive(is_ours, uptime()) && !(is_ours && holder_has_ended(folder, name)) {
        return Ok(false);
    }
    // Another process may find it stale too, and have its own lock there by now: that one is put back.
    let away = beside(b".", mbox, STALE_LOCK);
    match renameat(folder, name, folder, away.as_os_str()) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Ok(true),
        Err(Errno::EACCES | Errno::EPERM) => return Ok(false), // another user's
        Err(errno) => return Err(errno),
    }
    let is_it = stat(folder, &away).is_ok_and(|stat| stat.st_ino == seen.st_ino);
    if is_it {
        log::warn!("{}: a stale lock, removed", name.to_string_lossy());
    } else {
        linkat(folder, away.as_os_str(), folder, name, AtFlags::empty())?;
    }
    remove(folder, &away)?;
    Ok(is_it)
}

/// Returns the age in seconds up to which a lock may have a holder, on a machine that was started `uptime`
/// seconds ago. After a power failure the text of a lock may be lost, or its process id another's.
fn oldest_alive(is_ours: bool, uptime: i64) -> i64 {
    if is_ours { uptime.min(STALE) } else { STALE }
}

/// Seconds since this machine was started; more than any lock's age where that is not known.
fn uptime() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(i64::MAX, |since| since.tv_sec())
}

/// Returns whether the lock names a process of this machine that has ended.
fn holder_has_ended(folder: &impl AsFd, name: &OsStr) -> bool {
    let Ok(file) = retry_eintr(|| openat(folder, name, READ, Mode::empty())) else { return false };
    let mut text = Vec::new();
    let read = File::from(file).take(MAX_TEXT as u64).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let pid = read.ok().and_then(|_| text.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, SystemTime};
    use testkit::TempDir;

    const NAME: &str = "mbox.lock";

    fn try_lock(folder: &File) -> Option<Dotlock> {
        Dotlock::try_lock(folder, OsStr::new("mbox")).unwrap()
    }

    #[test]
    fn one_has_the_lock_and_nothing_is_left() {
        let dir = TempDir::new();
        let folder = File::open(dir.path()).unwrap();
        let held = try_lock(&folder).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), format!("{}\n", getpid()));
        assert!(try_lock(&folder).is_none());
        assert_eq!(testkit::names(dir.path()), [NAME]);
        held.release(&folder);
        assert!(testkit::names(dir.path()).is_empty());
        assert!(try_lock(&folder).is_some());
        held.release(&folder); // it is another one's
        assert_eq!(testkit::names(dir.path()), [NAME]);
    }

    #[test]
    fn a_lock_from_before_the_machine_was_started_has_no_holder_there() {
        assert_eq!(oldest_alive(true, 40), 40);
        assert_eq!(oldest_alive(true, STALE + 1), STALE);
        assert_eq!(oldest_alive(false, 40), STALE); // of another machine, perhaps
        assert!((1..i64::MAX).contains(&uptime()));
    }

    #[test]
    fn a_stale_lock_is_removed_and_another_is_not() {
        let dir = TempDir::new();
        let folder = File::open(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let make = |text: &str, age: u64| {
            fs::write(&path, text).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        let alive = std::process::id().to_string();
        for (text, age) in
            [(&alive[..], 0), (&alive, 290), ("0", 0), ("", 0), ("-1", 0), ("x", 290)]
        {
            make(text, age);
            assert!(try_lock(&folder).is_none(), "'{text}', {age} s");
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        for (text, age) in
            [(format!("{dead}\n"), 0), (dead.to_string(), 0), (alive, 310), (String::new(), 310)]
        {
            make(&text, age);
            let held = try_lock(&folder).unwrap_or_else(|| panic!("'{text}', {age} s"));
            held.release(&folder);
        }
        assert!(testkit::names(dir.path()).is_empty());
    }
}
