//! Files on their way to the disk before anybody waits for that.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Begins to write these octets of a file to the disk, and does not wait for it: sync_file_range(2).
/// Nothing is durable for that, but the fsync(2) that makes it so has less left to do.
///
/// # Errors
/// What the system call says, such as ESPIPE for a pipe; it may be taken no notice of.
pub fn start_writing(file: &impl AsFd, from: u64, octets: u64) -> nix::Result<()> {
    let offset = |octets: u64| i64::try_from(octets).map_err(|_| Errno::EFBIG);
    let (raw, from, octets) = (file.as_fd().as_raw_fd(), offset(from)?, offset(octets)?);
    // SAFETY: plain numbers and a descriptor that is open for the call; no memory of ours is involved.
    let answer = unsafe { libc::sync_file_range(raw, from, octets, libc::SYNC_FILE_RANGE_WRITE) };
    Errno::result(answer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_can_be_written_early_and_a_pipe_can_not() {
        let dir = testkit::TempDir::new();
        let path = dir.path().join("file");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        start_writing(&file, 0, 100_000).unwrap();
        start_writing(&file, 65_536, 1 << 40).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [7; 100_000]);
        assert_eq!(start_writing(&file, u64::MAX, 1), Err(Errno::EFBIG));
        let (_reader, writer) = std::io::pipe().unwrap();
        assert_eq!(start_writing(&writer, 0, 1), Err(Errno::ESPIPE));
    }
}
