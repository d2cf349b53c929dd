//! The limit on a file's size.

use nix::errno::Errno;

/// The bytes that may still be added to a file, and the errno beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimit {
    bytes: u64,
    /// EFBIG or EDQUOT.
    errno: Errno,
}

impl SizeLimit {
    /// Creates the limit of `--max-size`.
    #[must_use]
    pub fn new(max_size: Option<u64>) -> SizeLimit {
        SizeLimit { bytes: max_size.unwrap_or(u64::MAX), errno: Errno::EFBIG }
    }

    /// Lowers the limit to the bytes left in a quota.
    #[must_use]
    pub fn within_quota(self, left: u64) -> SizeLimit {
        if left < self.bytes { SizeLimit { bytes: left, errno: Errno::EDQUOT } } else { self }
    }

    /// Checks the size of a whole file.
    ///
    /// # Errors
    /// EFBIG or EDQUOT if it is over the limit.
    pub fn check(mut self, size: u64) -> nix::Result<()> {
        self.take(size)
    }

    /// Counts bytes that are added to the file.
    ///
    /// # Errors
    /// EFBIG or EDQUOT if they are over the limit.
    pub fn take(&mut self, bytes: u64) -> nix::Result<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(self.errno)?;
        Ok(())
    }
}
