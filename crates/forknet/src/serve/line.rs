//! A line between two processes of a server: messages with descriptors; on that to the keeper, questions
//! and their answers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use sys::scm_rights::{receive_whole, send_now};

use crate::net::interrupt::{is_readable, poll_timeout};

/// Longest question and longest answer, in bytes: a SASL response has at most 12,288 octets (RFC 4954 §4).
pub const LONGEST_MESSAGE: usize = 16 * 1024;
/// First byte of an answer after which the answering process ends.
pub(crate) const FINAL: u8 = b'.';
/// First byte of an answer after which it waits for what the asker says to that.
pub(crate) const MORE: u8 = b'?';
/// First byte of an answer after which it goes on.
pub(crate) const GOES_ON: u8 = b'+';
/// Longest wait for the answer to a last question.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The keeper's message after which another question may be asked: the process has ended that went on.
pub(crate) const FREE: [u8; 1] = *b"f";

/// A line to the keeper, in the process that talks to a client; its other end, in the process that answers.
#[derive(Clone, Debug)]
pub struct Line(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    fd: OwnedFd,
    /// A question was asked, and the process that answers it may not have ended.
    is_taken: AtomicBool,
    /// Its answer was not waited for.
    is_last: AtomicBool,
    /// The process that gave the latest answer waits for another question.
    has_process: AtomicBool,
    /// It is for several clients, one after the other.
    is_of_several: bool,
}

/// An answer: bytes of a process of the keeper's.
#[derive(Debug)]
pub enum Answer {
    /// The last word: another question may be asked.
    Final(Vec<u8>),
    /// The process that answered waits for the next question: it belongs to this one.
    More(Vec<u8>),
    /// The process that answered waits at another line, its own, for what follows.
    GoesOn(Vec<u8>, Line),
}

impl Line {
    pub(crate) fn new(fd: OwnedFd) -> Line {
        Line::with(fd, false)
    }

    /// As [`Line::new`], for several clients, one after the other.
    pub(crate) fn of_several(fd: OwnedFd) -> Line {
        Line::with(fd, true)
    }

    fn with(fd: OwnedFd, is_of_several: bool) -> Line {
        let [is_taken, is_last, has_process] = [false; 3].map(AtomicBool::new);
        Line(Arc::new(Ends { fd, is_taken, is_last, has_process, is_of_several }))
    }

    /// Returns whether it is for several clients, one after the other: the process that answers one's questions may
    /// stay for the next one's.
    #[must_use]
    pub fn is_of_several(&self) -> bool {
        self.0.is_of_several
    }

    /// Returns whether the process that gave the latest answer waits for another question, or has ended because
    /// none came.
    #[must_use]
    pub fn has_process(&self) -> bool {
        self.0.has_process.load(Relaxed)
    }

    /// Asks a question of at most [`LONGEST_MESSAGE`] bytes, and waits for the answer.
    ///
    /// # Errors
    /// `TimedOut` when no answer came within the limit; `BrokenPipe` when the keeper or the process that
    /// should answer has ended; `ResourceBusy` after one of these, or when the last answer goes on.
    pub fn ask(&self, question: &[u8], limit: Duration) -> io::Result<Answer> {
        self.begin(question)?;
        self.finish(limit)
    }

    /// Begins a question of several parts, of at most [`LONGEST_MESSAGE`] bytes each; this is the first.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub fn begin(&self, first: &[u8]) -> io::Result<()> {
        self.settle(LAST_WAIT)?;
        if self.0.is_taken.swap(true, Relaxed) {
            return Err(Errno::EBUSY.into());
        }
        self.0.has_process.store(false, Relaxed);
        self.send(first, None)
    }

    /// Asks a question whose answer says nothing: it is waited for before another one is asked, and
    /// not at the end of a session.
    ///
    /// # Errors
    /// As [`Line::begin`].
    pub fn ask_last(&self, question: &[u8]) -> io::Result<()> {
        self.begin(question)?;
        self.0.is_last.store(true, Relaxed);
        Ok(())
    }

    /// Waits for the answer to a last question.
    fn settle(&self, limit: Duration) -> io::Result<()> {
        if self.0.is_last.swap(false, Relaxed) { self.finish(limit).map(drop) } else { Ok(()) }
    }

    /// Sends another part of a question, and waits for room.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub fn add(&self, part: &[u8], limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        loop {
            match send_now(&self.0.fd, part, None) {
                Err(Errno::EAGAIN) => self.wait_for(PollFlags::POLLOUT, until)?,
                sent => return Ok(sent?),
            }
        }
    }

    /// As [`Line::ask`]; with the answer comes a descriptor, if the process that answers sends one.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub fn ask_for(
        &self,
        question: &[u8],
        limit: Duration,
    ) -> io::Result<(Answer, Option<OwnedFd>)> {
        self.begin(question)?;
        self.finish_with(limit)
    }

    /// Waits for the answer to a question that was begun.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub fn finish(&self, limit: Duration) -> io::Result<Answer> {
        self.finish_with(limit).map(|(answer, _)| answer)
    }

    fn finish_with(&self, limit: Duration) -> io::Result<(Answer, Option<OwnedFd>)> {
        let Some((mut answer, with)) = self.receive(limit)? else {
            return Err(Errno::EPIPE.into());
        };
        match answer.first() {
            Some(&FINAL) => {
                self.0.is_taken.store(false, Relaxed);
                Ok((Answer::Final(answer.split_off(1)), with))
            }
            Some(&MORE) => {
                self.0.is_taken.store(false, Relaxed);
                self.0.has_process.store(true, Relaxed);
                Ok((Answer::More(answer.split_off(1)), with))
            }
            Some(&GOES_ON) => {
                let line = Line::new(with.ok_or(Errno::EPROTO)?);
                Ok((Answer::GoesOn(answer.split_off(1), line), None))
            }
            _ => Err(Errno::EPROTO.into()),
        }
    }

    /// Whether another question cannot be asked.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_taken.load(Relaxed)
    }

    /// Whether another question can be asked. Waits for the end of a process that went on, of which the keeper tells
    /// those who serve one client after the other: a user can stop such a process.
    pub(crate) fn becomes_free(&self, limit: Duration) -> bool {
        let _ = self.settle(limit); // it is taken after an error
        if self.is_taken() {
            let is_free = |message: &[u8]| message == FREE;
            let told = self.receive(limit);
            let is_free = told.is_ok_and(|told| told.is_some_and(|(message, _)| is_free(&message)));
            self.0.is_taken.store(!is_free, Relaxed);
        }
        !self.is_taken()
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
        self.wait_for(PollFlags::POLLIN, Instant::now() + limit)?;
        self.receive_ready()
    }

    /// Waits until poll(2) reports one of these events, or the other end is closed.
    pub(crate) fn wait_for(&self, events: PollFlags, until: Instant) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.as_fd(), events)];
            match poll(&mut fds, poll_timeout(left)) {
                Ok(0) if left.is_zero() => return Err(Errno::ETIMEDOUT.into()),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// As [`Line::receive`], of a line that poll(2) calls readable: this process is its only reader.
    pub(crate) fn receive_ready(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        // Where the other end was closed with a message unread, ECONNRESET comes once, before what it has sent.
        let received = match receive_whole(&self.0.fd, LONGEST_MESSAGE) {
            Err(Errno::ECONNRESET) => receive_whole(&self.0.fd, LONGEST_MESSAGE),
            received => received,
        };
        match received {
            Ok((message, _)) if message.is_empty() => Ok(None),
            Err(Errno::ECONNRESET) => Ok(None),
            Ok(received) => Ok(Some(received)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether a message has come, or the end.
    pub(crate) fn is_readable(&self) -> bool {
        is_readable(self.as_fd())
    }
}

/// The message of front that asks whether box is there, and box's answer.
pub(crate) const PING: u8 = b'?';
/// First byte of the message with a title.
pub(crate) const TITLE: u8 = b'T';
/// Longest title in bytes.
pub(crate) const MAX_TITLE: usize = 256;

impl Line {
    /// Sends what the title of the process at the other end is to show.
    pub(crate) fn send_title(&self, text: &str) {
        let text = text.as_bytes().get(..MAX_TITLE).unwrap_or(text.as_bytes());
        let _ = self.send(&[&[TITLE], text].concat(), None); // the next wait sees the other end closed
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use sys::scm_rights::pair;

    #[test]
    fn a_line_whose_process_goes_on_is_free_when_the_keeper_says_so() {
        let (ours, theirs) = pair().unwrap();
        let (ours, theirs) = (Line::new(ours), Line::new(theirs));
        let goes_on = || {
            let own = pair().unwrap();
            theirs.send(&[GOES_ON], Some(own.1.as_fd())).unwrap();
            let answer = ours.ask(b"?", Duration::from_secs(5)).unwrap();
            assert!(matches!(answer, Answer::GoesOn(..)) && ours.is_taken());
            theirs.receive_ready().unwrap();
        };
        assert!(ours.becomes_free(Duration::ZERO));
        goes_on();
        theirs.send(&FREE, None).unwrap();
        assert!(ours.becomes_free(Duration::ZERO));
        goes_on();
        assert!(!ours.becomes_free(Duration::ZERO), "nothing was said");
        theirs.send(b"x", None).unwrap();
        assert!(!ours.becomes_free(Duration::ZERO), "an answer that came too late");
        drop(theirs);
        assert!(!ours.becomes_free(Duration::from_secs(5)), "the keeper has closed it");
    }

    #[test]
    fn the_answer_to_a_last_question_is_waited_for_before_the_next_one_alone() {
        let (ours, theirs) = pair().unwrap();
        let (ours, theirs) = (Line::new(ours), Line::new(theirs));
        let answer = |bytes: &[u8]| theirs.send(&[&[FINAL], bytes].concat(), None).unwrap();
        ours.ask_last(b"done").unwrap();
        assert!(ours.is_taken());
        answer(b"+");
        answer(b"to the next one");
        let next = ours.ask(b"?", Duration::ZERO).unwrap();
        assert!(matches!(next, Answer::Final(text) if text == b"to the next one"));
        ours.ask_last(b"done").unwrap();
        assert!(!ours.becomes_free(Duration::ZERO), "it was not answered");
        assert!(ours.ask(b"?", Duration::ZERO).is_err());
        let (ours, theirs) = pair().unwrap();
        let (ours, theirs) = (Line::new(ours), Line::new(theirs));
        ours.ask_last(b"done").unwrap();
        theirs.send(&[FINAL], None).unwrap();
        assert!(ours.becomes_free(Duration::ZERO));
    }

    #[test]
    fn the_last_word_is_received_from_an_end_that_has_left_a_message_unread() {
        let (ours, theirs) = pair().unwrap();
        let (ours, theirs) = (Line::new(ours), Line::new(theirs));
        theirs.send(b"the last word", None).unwrap();
        ours.send(b"too late", None).unwrap();
        drop(theirs);
        let heard = ours.receive_ready().unwrap().map(|(message, _)| message);
        assert_eq!(heard.as_deref(), Some(&b"the last word"[..]));
        assert!(ours.receive_ready().unwrap().is_none());
    }
}
