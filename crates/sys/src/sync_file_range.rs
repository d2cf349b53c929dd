//! sync_file_range(2): starts the write-back of a file before fsync(2) waits for it.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Starts to write this range of a file to the disk, without waiting. That makes nothing durable,
/// but leaves a later fsync(2) less to do.
///
/// # Errors
/// As sync_file_range(2), such as ESPIPE for a pipe; the caller may ignore them.
pub fn start_writing(file: &impl AsFd, from: u64, bytes: u64) -> nix::Result<()> {
    let offset = |bytes: u64| i64::try_from(bytes).map_err(|_| Errno::EFBIG);
    let (raw, from, bytes) = (file.as_fd().as_raw_fd(), offset(from)?, offset(bytes)?);
    // SAFETY: plain numbers and a descriptor that is open for the call; it touches no memory.
    let answer = unsafe { libc::sync_file_range(raw, from, bytes, libc::SYNC_FILE_RANGE_WRITE) };
    Errno::result(answer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn write_back_starts_for_a_file_and_fails_for_a_pipe() {
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
