//! Temporary names, where a file system knows no files without a name, and under `--chroot` without /proc.
//!
//! The process that writes such a file has it locked (flock(2)), and so has a helper process that publishes it. One that is
//! older than a minute and not locked was left by a process that was killed, and is removed by the next upload to its folder.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Prefix of the names of temporary files. tftpd neither serves nor writes such names.
pub const TEMP_PREFIX: &[u8] = b".tftp-new.";
/// Most names tried for a temporary file, each with the time in it.
pub(super) const MAX_NAMES: u32 = 100;
/// Most names of a folder that are looked at.
const MAX_LOOKED_AT: usize = 10_000;
/// Age of a file that may have been left. A younger one may not be locked yet.
const MIN_AGE: Duration = Duration::from_secs(60);

/// Calls `make` with temporary names until one is free. The time is in them, because process IDs come again, in a container
/// the same one at each start, and one process may have thousands of uploads.
///
/// # Errors
/// Those of `make`; EEXIST after a hundred names.
pub(super) fn with_unused_name<T>(
    make: impl Fn(&[u8]) -> nix::Result<T>,
) -> nix::Result<(Vec<u8>, T)> {
    for _ in 0..MAX_NAMES {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unique = format!("{}-{}", std::process::id(), now.as_nanos());
        let name = [TEMP_PREFIX, unique.as_bytes()].concat();
        match make(&name) {
            Err(Errno::EEXIST) => (),
            result => return result.map(|made| (name, made)),
        }
    }
    Err(Errno::EEXIST)
}

/// Removes what killed processes have left in a folder.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn remove_left(folder: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut entries = Dir::from_fd(openat(folder, c".", flags, Mode::empty())?)?;
    for entry in entries.iter().take(MAX_LOOKED_AT) {
        let name = entry?.file_name().to_owned();
        if is_temporary(name.to_bytes()) && is_left(folder, name.to_bytes()) {
            // best effort
            let _ = unlinkat(folder.as_fd(), &*name, UnlinkatFlags::NoRemoveDir);
        }
    }
    Ok(())
}

/// Returns whether `with_unused_name` makes such names.
fn is_temporary(name: &[u8]) -> bool {
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let Some(unique) = name.strip_prefix(TEMP_PREFIX) else { return false };
    let mut parts = unique.split(|&byte| byte == b'-');
    parts.next().is_some_and(is_number)
        && parts.next().is_some_and(is_number)
        && parts.next().is_none()
}

/// Returns whether nothing writes this file any more.
fn is_left(folder: &OwnedFd, name: &[u8]) -> bool {
    // Open for writing, because a lock over NFS wants that; O_NONBLOCK, because it may be a FIFO.
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(folder, name, flags, Mode::empty()) else { return false };
    let is_old = fstat(&file).is_ok_and(|status| {
        let changed = Duration::from_secs(u64::try_from(status.st_mtime).unwrap_or(0));
        let age = SystemTime::now().duration_since(UNIX_EPOCH + changed).unwrap_or_default();
        status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() && age > MIN_AGE
    });
    is_old && sys::flock::try_lock(&file).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use testkit::{TempDir, names};

    #[test]
    fn old_files_that_are_not_locked_are_removed_and_no_others() {
        let dir = TempDir::new();
        let file = |name: &str, age: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            file
        };
        file(".tftp-new.1-0", 100);
        file(".tftp-new.4242-1764540000000000000", 100_000);
        let written = file(".tftp-new.2-0", 100);
        sys::flock::try_lock(&written).unwrap();
        file(".tftp-new.3-0", 1);
        for other in [".tftp-new.mine", ".tftp-new.1-x", ".tftp-new.1", ".tftp-new.-1", "1-0", "x"]
        {
            file(other, 100);
        }
        fs::create_dir(dir.path().join(".tftp-new.5-0")).unwrap();
        std::os::unix::fs::symlink("x", dir.path().join(".tftp-new.6-0")).unwrap();
        let before = names(dir.path());
        remove_left(&File::open(dir.path()).unwrap().into()).unwrap();
        let gone = [".tftp-new.1-0", ".tftp-new.4242-1764540000000000000"];
        let kept: Vec<_> = before.into_iter().filter(|name| !gone.contains(&&**name)).collect();
        assert_eq!(names(dir.path()), kept);
        drop(written);
        remove_left(&File::open(dir.path()).unwrap().into()).unwrap();
        assert!(!dir.path().join(".tftp-new.2-0").exists(), "its process has ended");
    }
}
