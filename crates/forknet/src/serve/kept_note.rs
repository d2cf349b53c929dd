//! A note that is kept for later: for what is known only after the process that answers has become a user's.
//!
//! ```text
//!  process that answers (root) -- fork --> keeps the note and the way of notes (root)
//!    | becomes the user                      | waits for one byte, or the end
//!    | "now" ------------------------------> | sends the note, ends
//! ```
//! A user who has taken its process over can have that one note sent or not, and no other.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;
use sys::wait;

use crate::net::interrupt::poll_timeout;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::notes::NotesLine;

/// Longest time that a note is kept: a mailbox on a slow disk is opened meanwhile.
const KEEP_LIMIT: Duration = Duration::from_secs(60);

/// The process that keeps a note, from the side of the one that has it sent.
#[derive(Debug)]
pub(crate) struct KeptNote {
    order: PipeWriter,
    process: Pid,
}

impl KeptNote {
    pub(crate) fn new(order: PipeWriter, process: Pid) -> KeptNote {
        KeptNote { order, process }
    }

    /// Has the note sent, and waits until it was.
    ///
    /// # Errors
    /// The process that keeps it has ended.
    pub(crate) fn send(mut self) -> io::Result<()> {
        self.order.write_all(b"n")?;
        Ok(wait::wait_for(self.process)?)
    }
}

/// Keeps a note in this process, which was forked for it; returns its exit code.
pub(crate) fn keep(notes: Option<NotesLine>, order: PipeReader, note: &[u8]) -> i32 {
    let until = Instant::now() + KEEP_LIMIT;
    let order = OwnedFd::from(order);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(order.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(left)) {
            Err(Errno::EINTR) => {}
            Ok(1..) => break,
            Ok(_) | Err(_) => return EXIT_FAILED,
        }
    }
    let is_wanted = matches!(File::from(order).read(&mut [0]), Ok(1));
    match notes.filter(|_| is_wanted).map(|notes| notes.send(note)) {
        Some(Err(_)) => EXIT_FAILED, // the keeper has ended
        Some(Ok(())) | None => EXIT_OK,
    }
}
