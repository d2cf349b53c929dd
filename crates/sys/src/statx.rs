//! statx(2): when a file was made, and which it is.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// When a file or folder was made, and its number: no other one has both, though a number is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    device: (u32, u32),
    inode: u64,
    /// Since 1970.
    seconds: i64,
    nanoseconds: u32,
}

impl Birth {
    /// Returns the time in seconds since 1970.
    #[must_use]
    pub const fn seconds(&self) -> i64 {
        self.seconds
    }
}

/// Returns when an open file or folder was made; `None` on a file system that does not keep it.
///
/// # Errors
/// As statx(2).
pub fn birth(file: &impl AsFd) -> nix::Result<Option<Birth>> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: a struct of integers, of which zero is a value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let (flags, wanted) = (libc::AT_EMPTY_PATH, libc::STATX_BTIME | libc::STATX_INO);
    // SAFETY: the path is a string that ends in NUL, and the kernel writes one `struct statx` to `stat`; both live
    // until the call returns.
    let done = unsafe { libc::statx(fd, c"".as_ptr(), flags, wanted, &raw mut stat) };
    Errno::result(done)?;
    Ok((stat.stx_mask & wanted == wanted).then_some(Birth {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        seconds: stat.stx_btime.tv_sec,
        nanoseconds: stat.stx_btime.tv_nsec,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_folder_that_was_made_now_is_young_where_the_file_system_tells() {
        let dir = testkit::TempDir::new();
        let birth = |path| birth(&File::open(path).unwrap()).unwrap();
        let made = birth(dir.path()).map(|it| it.seconds());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        assert!(made.is_none_or(|made| (now - 600..=now + 1).contains(&made)), "{made:?} {now}");
        // One that is made in another's place has another birth, if not another number.
        let path = dir.path().join("folder");
        fs::create_dir(&path).unwrap();
        let first = birth(&path);
        assert_eq!(birth(&path), first);
        fs::remove_dir(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(first.is_none() || birth(&path) != first);
    }
}
