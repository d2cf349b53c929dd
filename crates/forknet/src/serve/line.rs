//! A line to the keeper: questions, answers, and what follows an answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use sys::scm_rights::{pair, receive, send_now};

use crate::error::strerror;
use crate::net::interrupt::{is_readable, poll_timeout};
use crate::serve::keeper::Keeping;
use crate::serve::session::EXIT_OK;

/// Longest question and longest answer, in bytes: a SASL response has at most 12,288 octets (RFC 4954 §4).
pub const LONGEST_MESSAGE: usize = 16 * 1024;
/// First byte of an answer after which the answering process ends.
const FINAL: u8 = b'.';
/// First byte of an answer after which it goes on.
const GOES_ON: u8 = b'+';

/// A line to the keeper, in the process that talks to a client; its other end, in the process that answers.
#[derive(Clone, Debug)]
pub struct Line(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    fd: OwnedFd,
    /// A question was asked, and the process that answers it may not have ended.
    is_taken: AtomicBool,
}

/// An answer: bytes of a process of the keeper's.
#[derive(Debug)]
pub enum Answer {
    /// The last word: another question may be asked.
    Final(Vec<u8>),
    /// The process that answered waits at another line, its own, for what follows.
    GoesOn(Vec<u8>, Line),
}

impl Line {
    pub(crate) fn new(fd: OwnedFd) -> Line {
        Line(Arc::new(Ends { fd, is_taken: AtomicBool::new(false) }))
    }

    /// Asks a question of at most [`LONGEST_MESSAGE`] bytes, and waits for the answer.
    ///
    /// # Errors
    /// `TimedOut` when no answer came within the limit; `BrokenPipe` when the keeper or the process that
    /// should answer has ended; `ResourceBusy` after one of these, or when the last answer goes on.
    pub fn ask(&self, question: &[u8], limit: Duration) -> io::Result<Answer> {
        if self.0.is_taken.swap(true, Relaxed) {
            return Err(Errno::EBUSY.into());
        }
        self.send(question, None)?;
        let Some((mut answer, with)) = self.receive(limit)? else {
            return Err(Errno::EPIPE.into());
        };
        match answer.first() {
            Some(&FINAL) => {
                self.0.is_taken.store(false, Relaxed);
                Ok(Answer::Final(answer.split_off(1)))
            }
            Some(&GOES_ON) => {
                let line = Line::new(with.ok_or(Errno::EPROTO)?);
                Ok(Answer::GoesOn(answer.split_off(1), line))
            }
            _ => Err(Errno::EPROTO.into()),
        }
    }

    /// Whether another question cannot be asked.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_taken.load(Relaxed)
    }

    /// Sends a message, and a copy of a descriptor where there is one. Never waits.
    pub(crate) fn send(&self, message: &[u8], with: Option<BorrowedFd<'_>>) -> io::Result<()> {
        Ok(send_now(&self.0.fd, message, with)?)
    }

    /// Receives a message, of at most [`LONGEST_MESSAGE`] bytes, and the descriptor that comes with it.
    /// `None`: the other end is closed.
    ///
    /// # Errors
    /// `TimedOut` when nothing came within the limit.
    pub(crate) fn receive(
        &self,
        limit: Duration,
    ) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, poll_timeout(left)) {
                Ok(0) if left.is_zero() => return Err(Errno::ETIMEDOUT.into()),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.receive_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// As [`Line::receive`], of a line that poll(2) calls readable: this process is its only reader.
    pub(crate) fn receive_ready(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut buffer = vec![0; LONGEST_MESSAGE];
        match receive(&self.0.fd, &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok(None),
            Ok((length, with)) => {
                buffer.truncate(length);
                Ok(Some((buffer, with)))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        is_readable(self.as_fd())
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// A question, in the process that was forked to answer it, with the keeper's rights.
#[derive(Debug)]
pub struct Question {
    text: Vec<u8>,
    line: OwnedFd,
    /// The two ends of a line of this process's own, for what follows an answer. The process that asked
    /// sees its end when this one has ended; the keeper's line is never in a process of a user's, who
    /// could read the next question there.
    own: (OwnedFd, OwnedFd),
    pub(crate) keeping: Keeping,
}

impl Question {
    /// Reads the question of a line. What comes with it is closed.
    pub(crate) fn read(line: OwnedFd, keeping: Keeping) -> nix::Result<Question> {
        let mut text = vec![0; LONGEST_MESSAGE];
        let length = receive(&line, &mut text)?.0;
        text.truncate(length);
        Ok(Question { text, line, own: pair()?, keeping })
    }

    /// Returns what was asked, once: bytes of a process that may have been taken over.
    #[must_use]
    pub fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Shows `NAME: TEXT` as the title of this process.
    pub fn show(&self, text: impl std::fmt::Display) {
        self.keeping.titles.show(text);
    }

    /// Gives the last word; returns the exit code of this process.
    #[must_use]
    pub fn answer(self, answer: &[u8]) -> i32 {
        self.send(FINAL, answer, None);
        EXIT_OK
    }

    /// Answers, and goes on at the line that this returns.
    pub(crate) fn go_on(self, answer: &[u8]) -> Line {
        self.send(GOES_ON, answer, Some(self.own.1.as_fd()));
        Line::new(self.own.0)
    }

    fn send(&self, kind: u8, answer: &[u8], with: Option<BorrowedFd<'_>>) {
        if let Err(errno) = send_now(&self.line, &[&[kind], answer].concat(), with) {
            log::debug!("answer: {}", strerror(errno)); // the asker has ended
        }
    }
}
