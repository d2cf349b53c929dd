//! Wakes the server up from a thread or child: a pipe.
//!
//! A child has only the writing end. With a shared eventfd(2), a child that is taken over could
//! clear O_NONBLOCK and drain it first, and the server would block for ever, with its signals
//! blocked.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

/// Bytes that are read at once; the rest wakes the server up again.
const DRAIN_BYTES: usize = 256;

/// The server's end: readable once notified, until drained.
#[derive(Debug)]
pub(crate) struct Wakeup(OwnedFd);

/// The end of threads and children.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

/// Makes both ends, non-blocking.
///
/// # Errors
/// EMFILE, ENFILE.
pub(crate) fn pair() -> nix::Result<(Wakeup, Waker)> {
    let (end, others) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((Wakeup(end), Waker(others)))
}

impl Wakeup {
    /// Makes it unreadable, unless more than [`DRAIN_BYTES`] notifications came.
    pub(crate) fn drain(&self) {
        let _ = read(&self.0, &mut [0; DRAIN_BYTES]); // EAGAIN: it was not notified
    }
}

impl Waker {
    /// Makes the server's end readable.
    pub(crate) fn notify(&self) {
        let _ = write(&self.0, &[1]); // EAGAIN: the pipe is full of notifications
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interrupt::is_readable;

    #[test]
    fn it_is_readable_from_the_first_notification_until_it_is_drained() {
        let (wakeup, waker) = pair().unwrap();
        assert!(!is_readable(wakeup.as_fd()));
        wakeup.drain();
        waker.notify();
        waker.notify();
        assert!(is_readable(wakeup.as_fd()));
        wakeup.drain();
        assert!(!is_readable(wakeup.as_fd()));
        (0..100_000).for_each(|_| waker.notify()); // more than the pipe holds; none blocks
        assert!(is_readable(wakeup.as_fd()));
    }
}
