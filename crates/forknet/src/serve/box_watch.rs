//! Watches box, in front: a process that is stopped, or hangs, holds neither its client nor the slot.
//!
//! Box looks at its line whenever it waits for the client. So front asks from time to time whether it is
//! there, and at once when the client has hung up.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::serve::line::{Line, PING};

/// Longest time between two questions, and longest wait for an answer: box may be at work on a slow disk.
const INTERVAL: Duration = Duration::from_secs(60);

/// The event that the client has closed its side, which nix has no name for.
const HANGUP: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);

/// What front knows of box.
#[derive(Debug)]
pub(crate) struct BoxWatch {
    /// Time between two questions, and limit of an answer.
    interval: Duration,
    /// When it was asked last, or answered.
    since: Instant,
    is_asked: bool,
    has_hung_up: bool,
}

impl BoxWatch {
    /// `idle` is the limit of an idle client, which is one of box as well.
    pub(crate) fn new(idle: Duration) -> BoxWatch {
        let interval = idle.min(INTERVAL);
        BoxWatch { interval, since: Instant::now(), is_asked: false, has_hung_up: false }
    }

    /// Returns the longest wait until [`BoxWatch::check`] is due.
    pub(crate) fn limit(&self) -> Duration {
        self.interval.saturating_sub(self.since.elapsed())
    }

    /// Returns what to wait for at the client, whose input and output are box's.
    pub(crate) fn events(&self) -> PollFlags {
        if self.has_hung_up { PollFlags::empty() } else { HANGUP }
    }

    /// Asks where that is due, or the client has hung up.
    ///
    /// # Errors
    /// `TimedOut` when box has not answered in time; box has ended.
    pub(crate) fn check(&mut self, line: &Line, client: BorrowedFd<'_>) -> io::Result<()> {
        let hangs_up = !self.has_hung_up && has_hung_up(client);
        self.has_hung_up |= hangs_up;
        let is_due = self.limit().is_zero();
        if self.is_asked && is_due {
            return Err(Errno::ETIMEDOUT.into());
        }
        if !self.is_asked && (is_due || hangs_up) {
            match line.send(&[PING], None) {
                // What it said before its end is still to be read.
                Err(error) if has_ended(&error) => {}
                sent => sent?,
            }
            (self.is_asked, self.since) = (true, Instant::now());
        }
        Ok(())
    }

    /// Takes a message of box: it is there.
    pub(crate) fn answered(&mut self) {
        (self.is_asked, self.since) = (false, Instant::now());
    }
}

/// Whether the other end of a line is closed.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Whether the client has closed its side, or the connection is gone.
fn has_hung_up(client: BorrowedFd<'_>) -> bool {
    let mut client = [PollFd::new(client, HANGUP)];
    poll(&mut client, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
