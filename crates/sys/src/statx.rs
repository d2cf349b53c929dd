//! statx(2): when a file was made.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Returns the time at which an open file or folder was made, in seconds since 1970; `None` on a file system that
/// does not keep it.
///
/// # Errors
/// As statx(2).
pub fn birth_time(file: &impl AsFd) -> nix::Result<Option<i64>> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: a struct of integers, of which zero is a value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let (flags, wanted) = (libc::AT_EMPTY_PATH, libc::STATX_BTIME);
    // SAFETY: the path is a string that ends in NUL, and the kernel writes one `struct statx` to `stat`; both live
    // until the call returns.
    let done = unsafe { libc::statx(fd, c"".as_ptr(), flags, wanted, &raw mut stat) };
    Errno::result(done)?;
    Ok((stat.stx_mask & libc::STATX_BTIME != 0).then_some(stat.stx_btime.tv_sec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_folder_that_was_made_now_is_young_where_the_file_system_tells() {
        let dir = testkit::TempDir::new();
        let made = birth_time(&File::open(dir.path()).unwrap()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        assert!(made.is_none_or(|made| (now - 600..=now + 1).contains(&made)), "{made:?} {now}");
    }
}
