//! Interrupts sessions at the end of the server.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Interval of checks for an event that no descriptor and no signal announces.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A descriptor, and what it is waited for.
pub(crate) type Waited<'a> = (BorrowedFd<'a>, PollFlags);

/// What a session waits for besides its client, as each server design needs it.
pub(crate) trait Interrupts: fmt::Debug + Send {
    /// Waits until the client is ready, for at most `limit`; in a process between the client and another
    /// one, until any of their descriptors is. Returns false when the wait has ended
    /// for another reason. `is_idle` is true while the client has sent nothing since the server's
    /// last reply.
    ///
    /// # Errors
    /// [`shutting_down`] when the session must end immediately.
    fn wait(&mut self, client: &[Waited<'_>], is_idle: bool, limit: Duration) -> io::Result<bool>;

    /// Checks for what ends a wait, in a session that reads and writes without waiting.
    ///
    /// # Errors
    /// As [`Interrupts::wait`].
    fn poll_now(&mut self) -> io::Result<()>;

    /// Returns the shortest time between two calls of [`Interrupts::poll_now`].
    fn poll_interval(&self) -> Duration {
        POLL_INTERVAL
    }

    /// Returns true when the session must end without lingering.
    fn must_end(&self) -> bool {
        false
    }
}

/// Returns the error of a read that ends because the server does.
pub(crate) fn shutting_down() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "shutting down")
}

/// Returns whether this is the error of a session that ends because the server does.
#[must_use]
pub fn is_shutdown(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted && error.get_ref().is_some()
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The client is ready.
    Client,
    /// Another descriptor is ready.
    Other,
    /// The limit has passed, or a signal came.
    Neither,
}

/// Most other descriptors of a wait.
const MAX_OTHERS: usize = 2;

/// poll(2) on the client's descriptors and up to two others, for at most `limit`.
pub(crate) fn wait(
    client: &[Waited<'_>],
    others: [Option<BorrowedFd<'_>>; MAX_OTHERS],
    limit: Duration,
) -> io::Result<Woken> {
    let others = others.into_iter().flatten();
    let mut fds: Vec<_> = others.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    let first = fds.len();
    fds.extend(client.iter().map(|(fd, events)| PollFd::new(*fd, *events)));
    match poll(&mut fds, poll_timeout(limit)) {
        Ok(0) | Err(Errno::EINTR) => Ok(Woken::Neither),
        Ok(_) if fds.iter().skip(first).any(|fd| fd.any() != Some(false)) => Ok(Woken::Client),
        Ok(_) => Ok(Woken::Other),
        Err(errno) => Err(errno.into()),
    }
}

/// Converts a limit for poll(2). Rounded up, because a wait of 0.4 ms must not become a busy loop of
/// waits of 0 ms.
pub(crate) fn poll_timeout(limit: Duration) -> PollTimeout {
    let millis = limit.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// Returns true when this descriptor is readable, or at its end.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
