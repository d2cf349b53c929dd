//! A question to the keeper, in the process that was forked to answer it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::signal::Signal;
use sys::fork::{Fork, OneTask, child, fork};
use sys::scm_rights::{pair, receive_whole, stream_pair};
use sys::signal::ignore;
use sys::wait::Ended;

use crate::error::reason;
use crate::log::stderr;
use crate::net::connection::Connection;
use crate::net::deadlines::Timeouts;
use crate::net::peer::Peer;
use crate::serve::exit_code::EXIT_SERVED;
use crate::serve::kept_note::{self, KeptNote};
use crate::serve::line::{FINAL, GOES_ON, LONGEST_MESSAGE, Line, MORE};
use crate::serve::notes::NotesLine;
use crate::serve::title::Titles;

/// Exit code of a process that has given the last word.
const ENDED: i32 = 0;

/// Longest time that a process goes on when the one that asked has ended: a slow disk finishes.
const ORPHAN_LIMIT: Duration = Duration::from_secs(60);

/// Signals that are for other processes of the server, and SIGIO of a lease.
const FOR_OTHERS: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGIO];

/// What the keeper and the processes that answer for it know of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    titles: Titles,
    /// Most lines at a time.
    lines: usize,
    /// The limits of the clients that answering processes take over.
    timeouts: Timeouts,
    /// Some clients are under TLS.
    offers_tls: bool,
    /// Those who ask serve one client after the other.
    has_workers: bool,
}

impl Keeping {
    pub(crate) fn new(
        titles: Titles,
        lines: usize,
        timeouts: Timeouts,
        (offers_tls, has_workers): (bool, bool),
    ) -> Keeping {
        Keeping { titles, lines, timeouts, offers_tls, has_workers }
    }

    /// Whether a process has served a client to the end, whose place the next one takes.
    pub(crate) fn serves_next(&self, ended: &Ended) -> bool {
        self.has_workers && ended.code() == Some(EXIT_SERVED)
    }

    /// Returns the most lines at a time.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Returns how long a process may go on when the one that asked has ended.
    pub(crate) fn orphan_limit(&self) -> Duration {
        self.timeouts.idle.min(ORPHAN_LIMIT)
    }

    /// Shows `NAME: TEXT`.
    pub(crate) fn show(&self, text: impl std::fmt::Display) {
        self.titles.show(text);
    }
}

/// What the process of a client's mailbox has besides the client.
#[derive(Debug)]
struct Ways {
    /// The two ends of a line of this process's own, for what follows an answer. The process that asked
    /// sees its end when this one has ended; the keeper's line is never in a process of a user's, who
    /// could read the next question there.
    own: (OwnedFd, OwnedFd),
    /// The two ends of what a client under TLS is served by.
    stream: Option<(OwnedFd, OwnedFd)>,
}

impl Ways {
    fn new(offers_tls: bool) -> nix::Result<Ways> {
        Ok(Ways { own: pair()?, stream: offers_tls.then(stream_pair).transpose()? })
    }
}

/// A question, in the process that was forked to answer it, with the keeper's rights.
#[derive(Debug)]
pub struct Question {
    text: Vec<u8>,
    line: Line,
    /// The client of the process that asks, as the parent has said; `None` where it has several in turn.
    client: Option<Peer>,
    /// What a client is served by, from [`Question::prepare_to_serve`] on.
    ways: Option<Ways>,
    /// The way of notes to the keeper, until [`Question::end_notes`].
    notes: Option<NotesLine>,
    /// A note that is kept for later.
    kept_note: Option<KeptNote>,
    keeping: Keeping,
}

impl Question {
    /// Reads the question of a line. What comes with it is closed.
    pub(crate) fn read(
        (line, client): (OwnedFd, Option<Peer>),
        notes: Option<NotesLine>,
        keeping: Keeping,
    ) -> nix::Result<Question> {
        let text = receive_whole(&line, LONGEST_MESSAGE)?.0;
        let (line, ways, kept_note) = (Line::new(line), None, None);
        Ok(Question { text, line, client, ways, notes, kept_note, keeping })
    }

    /// Returns what was asked, once: bytes of a process that may have been taken over.
    #[must_use]
    pub fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Returns whether a client's address can be as the process says that asks and may have been taken over: the
    /// parent has accepted that client, or a proxy that tells of it. Of a prefork worker, which accepts its clients itself, that
    /// is not known.
    #[must_use]
    pub fn may_be_from(&self, peer: Peer) -> bool {
        can_be(self.client, peer)
    }

    /// Returns whether the process that asks has several clients, one after the other.
    pub(crate) fn is_of_several(&self) -> bool {
        self.client.is_none()
    }

    /// Receives another part of the question, of a process that may have been taken over; `None` when that
    /// has ended.
    ///
    /// # Errors
    /// `TimedOut` when nothing came within the limit.
    pub fn next_part(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        Ok(self.line.receive(limit)?.map(|(part, _)| part))
    }

    /// Answers, and waits for what the asker says to that, which [`Question::take_text`] returns then.
    ///
    /// # Errors
    /// The asker has ended; `TimedOut` when nothing came within the limit.
    pub fn ask_back(&mut self, answer: &[u8], limit: Duration) -> io::Result<()> {
        self.line.send(&[&[MORE], answer].concat(), None)?;
        self.text = self.next_part(limit)?.ok_or(Errno::EPIPE)?;
        Ok(())
    }

    /// As [`Question::ask_back`], and hands a connection over, which this process then has no more.
    ///
    /// # Errors
    /// As [`Question::ask_back`].
    pub fn ask_back_with(
        &mut self,
        answer: &[u8],
        with: Connection,
        limit: Duration,
    ) -> io::Result<()> {
        self.line.send(&[&[MORE], answer].concat(), Some(with.fd()))?;
        drop(with);
        self.text = self.next_part(limit)?.ok_or(Errno::EPIPE)?;
        Ok(())
    }

    /// Leaves a note of at most [`MAX_NOTE`](crate::MAX_NOTE) bytes for the keeper, before the answer.
    ///
    /// # Errors
    /// `TimedOut` when there is no room within five seconds; the note is too long; EPIPE after
    /// [`Question::end_notes`] or when the keeper has ended.
    pub fn note(&self, note: &[u8]) -> io::Result<()> {
        self.notes.as_ref().ok_or(Errno::EPIPE)?.send(note)
    }

    /// Closes the way of notes: before this process becomes a user's.
    pub fn end_notes(&mut self) {
        self.notes = None;
    }

    /// Has a process of its own keep a note, for [`Question::send_kept_note`], and closes the way of notes here: for
    /// what is known only once this process has become a user's, who must not write notes.
    ///
    /// # Errors
    /// pipe(2) or fork(2) failed.
    pub fn keep_note(mut self, note: &[u8]) -> io::Result<Question> {
        let (order, start) = io::pipe()?;
        match fork(OneTask::check()?)? {
            Fork::Child => child(move || {
                let Question { line, ways, notes, .. } = self;
                drop((line, ways, start)); // what others see the end of
                kept_note::keep(notes, order, note)
            }),
            Fork::Parent(process) => {
                self.notes = None;
                self.kept_note = Some(KeptNote::new(start, process));
                Ok(self)
            }
        }
    }

    /// Has the note sent that is kept, if there is one, and waits until the keeper can read it.
    ///
    /// # Errors
    /// The process that keeps it has ended.
    pub fn send_kept_note(&mut self) -> io::Result<()> {
        self.kept_note.take().map_or(Ok(()), KeptNote::send)
    }

    /// Waits, unless the one that asked ends.
    ///
    /// # Errors
    /// It has ended.
    pub fn pause(&self, time: Duration) -> io::Result<()> {
        match self.line.wait_for(PollFlags::empty(), Instant::now() + time) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Errno::EPIPE.into()), // POLLHUP
        }
    }

    /// Makes what [`Question::serve`] needs: before this process makes no socket any more.
    ///
    /// # Errors
    /// As socketpair(2).
    pub fn prepare_to_serve(&mut self) -> io::Result<()> {
        if self.ways.is_none() {
            self.ways = Some(Ways::new(self.keeping.offers_tls)?);
        }
        Ok(())
    }

    /// Shows `NAME: TEXT` as the title of this process.
    pub fn show(&self, text: impl std::fmt::Display) {
        self.keeping.show(text);
    }

    /// Starts a process beside this one, with its rights, which runs `life` with one end of a line; returns
    /// the other end. It has nothing of the question, shows `NAME: TITLE`, and should end when the line does.
    /// Signals that end a server do not end it: it finishes for those that use it.
    ///
    /// # Errors
    /// The question, and why no process was started.
    pub fn start_beside(
        self,
        title: impl std::fmt::Display,
        life: impl FnOnce(OwnedFd),
    ) -> (Question, nix::Result<OwnedFd>) {
        let started = OneTask::check().and_then(|alone| {
            let (ours, theirs) = pair()?;
            Ok((ours, theirs, fork(alone)?))
        });
        match started {
            Ok((ours, _, Fork::Parent(_))) => (self, Ok(ours)),
            Ok((ours, theirs, Fork::Child)) => child(|| {
                let keeping = self.keeping;
                drop((self, ours));
                for signal in FOR_OTHERS {
                    if let Err(errno) = ignore(signal) {
                        log::debug!("sigaction: {}", errno.desc());
                    }
                }
                keeping.show(title);
                life(theirs);
                stderr::flush();
                ENDED
            }),
            Err(errno) => (self, Err(errno)),
        }
    }

    /// Gives the last word; returns the exit code of this process.
    #[must_use]
    pub fn answer(self, answer: &[u8]) -> i32 {
        send(&self.line, &[&[FINAL], answer].concat(), None);
        ENDED
    }

    /// Returns the limits of the clients that this process takes over.
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.keeping.timeouts
    }

    /// Answers, and goes on at the line that this returns; with it come the two ends for a client under TLS.
    ///
    /// # Errors
    /// As [`Question::prepare_to_serve`].
    pub(crate) fn go_on(mut self, answer: &[u8]) -> io::Result<(Line, Option<(OwnedFd, OwnedFd)>)> {
        self.prepare_to_serve()?;
        let Ways { own, stream } = self.ways.ok_or(Errno::EPIPE)?;
        send(&self.line, &[&[GOES_ON], answer].concat(), Some(own.1.as_fd()));
        Ok((Line::new(own.0), stream))
    }
}

fn send(line: &Line, message: &[u8], with: Option<BorrowedFd<'_>>) {
    if let Err(error) = line.send(message, with) {
        log::debug!("answer: {}", reason(&error)); // the asker has ended
    }
}

/// Returns whether the parent's client can be this one; `None` is not known.
fn can_be(client: Option<Peer>, peer: Peer) -> bool {
    match (client, peer) {
        (None, _) | (Some(Peer::Proxy(_)), Peer::Told(_) | Peer::Proxy(_)) => true,
        (Some(known), peer) => known == peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_taken_over_cannot_say_another_address_than_its_clients() {
        let at = |text: &str| text.parse().unwrap();
        let (stranger, own) = (Peer::Ip(at("192.0.2.7:5")), Peer::Ip(at("127.0.0.1:5")));
        let (proxy, told) = (Peer::Proxy(Some(at("10.0.0.1:5"))), Peer::Told(at("192.0.2.7:5")));
        for (client, says, can) in [
            (stranger, stranger, true),
            (stranger, own, false),
            (stranger, Peer::Unix, false),
            (stranger, Peer::Pipe, false),
            (stranger, told, false),
            (stranger, Peer::Ip(at("192.0.2.7:6")), false),
            (proxy, told, true),
            (proxy, proxy, true),
            (proxy, own, false),
            (proxy, Peer::Unix, false),
            (Peer::Unix, Peer::Unix, true),
            (Peer::Unix, own, false),
        ] {
            assert_eq!(can_be(Some(client), says), can, "{client} says {says}");
        }
        assert!(can_be(None, own), "a worker, which accepts its clients itself");
    }
}
