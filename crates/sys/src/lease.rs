//! Leases on files: F_SETLEASE of fcntl(2).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Returns whether a process has this file open for writing. The descriptor is open for reading only; its
/// owner is this process's user.
///
/// A read lease can be had only where no process has. It is given back at once: a process that opens the
/// file meanwhile waits for that, and this one gets SIGIO, which it should ignore.
///
/// # Errors
/// As fcntl(2): EINVAL and EACCES where the file system has no leases, or the file is another user's.
pub fn is_open_for_writing(file: &impl AsFd) -> nix::Result<bool> {
    let set = |lease: libc::c_int| {
        // SAFETY: plain numbers, the first of an open descriptor; the call touches no memory of ours.
        let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETLEASE, lease) };
        Errno::result(result).map(drop)
    };
    match set(libc::F_RDLCK) {
        Ok(()) => set(libc::F_UNLCK).map(|()| false),
        Err(Errno::EAGAIN) => Ok(true),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use testkit::TempDir;

    #[test]
    fn a_writer_is_seen_and_a_reader_is_none() {
        let dir = TempDir::new();
        let path = dir.file("mbox", "x");
        let (one, _other) = (File::open(&path).unwrap(), File::open(&path).unwrap());
        assert_eq!(is_open_for_writing(&one), Ok(false));
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(is_open_for_writing(&one), Ok(true));
        drop(writer);
        assert_eq!(is_open_for_writing(&one), Ok(false));
    }
}
