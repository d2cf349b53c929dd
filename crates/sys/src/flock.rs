//! flock(2): a lock that ends when the file is closed.
//!
//! nix's own type releases the lock before it closes the file, and panics where that fails, as it may on a file
//! system of the network.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Locks an open file or folder exclusively, without waiting. The lock ends when the last descriptor of this
/// opening is closed.
///
/// # Errors
/// EWOULDBLOCK while another opening has a lock; as flock(2), such as ENOLCK and EIO.
pub fn try_lock(file: &impl AsFd) -> nix::Result<()> {
    flock(file, libc::LOCK_EX | libc::LOCK_NB)
}

/// The same, and waits for the lock.
///
/// # Errors
/// EINTR by a signal; as flock(2).
pub fn lock(file: &impl AsFd) -> nix::Result<()> {
    flock(file, libc::LOCK_EX)
}

fn flock(file: &impl AsFd, how: libc::c_int) -> nix::Result<()> {
    // SAFETY: a plain number and a descriptor that is open for the call; it touches no memory.
    Errno::result(unsafe { libc::flock(file.as_fd().as_raw_fd(), how) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn one_opening_has_the_lock_until_it_is_closed() {
        let dir = testkit::TempDir::new();
        let (one, other) = (File::open(dir.path()).unwrap(), File::open(dir.path()).unwrap());
        try_lock(&one).unwrap();
        try_lock(&one).unwrap();
        assert_eq!(try_lock(&other), Err(Errno::EWOULDBLOCK));
        drop(one);
        lock(&other).unwrap();
    }
}
