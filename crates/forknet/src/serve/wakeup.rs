//! Wakes the server up, from a thread or a child of its own: a pipe.
//!
//! The server reads at an end of its own. At an eventfd(2), which they would share, a child that is taken
//! over could take O_NONBLOCK away and empty it first: the server would wait for ever, with its signals
//! blocked.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

/// What is read at once, in bytes; the rest wakes the server up again.
const DRAIN_BYTES: usize = 256;

/// The server's end: readable once notified, until drained.
#[derive(Debug)]
pub(crate) struct Wakeup(OwnedFd);

/// The end of those who wake it up.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

/// Both ends. Neither blocks.
///
/// # Errors
/// EMFILE, ENFILE.
pub(crate) fn pair() -> nix::Result<(Wakeup, Waker)> {
    let (end, others) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((Wakeup(end), Waker(others)))
}

impl Wakeup {
    /// Makes it unreadable, where it was not notified very often.
    pub(crate) fn drain(&self) {
        let _ = read(&self.0, &mut [0; DRAIN_BYTES]); // EAGAIN: it was not notified
    }
}

impl Waker {
    /// Makes the server's end readable.
    pub(crate) fn notify(&self) {
        let _ = write(&self.0, &[1]); // EAGAIN: it has been notified very often already
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
        (0..100_000).for_each(|_| waker.notify()); // more than there is room for: none blocks
        assert!(is_readable(wakeup.as_fd()));
    }
}
