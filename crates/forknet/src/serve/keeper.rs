//! The keeper: a process that keeps the rights that the server gives up.
//!
//! The processes that talk to clients have no rights. Where a protocol needs some, for a password or a
//! user's files, such a process asks the keeper, over a line of its own. The keeper reads nothing that
//! comes over a line: it forks (the slide again) a process that reads one bounded message and answers.
//! So no secret is ever in the keeper's own memory, which all those processes inherit. What it learns of them
//! are short notes ([`crate::serve::notes`]): those forked later have that in their memory too. An answering
//! process may then become a user and serve a client ([`crate::serve::handover`]).
//!
//! A line has one question at a time. The next one is read when the process that answered has ended. If the
//! one that asked ends before, the one that answers ends too, or is killed a little later.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, chdir, setpgid};
use smallvec::SmallVec;
use sys::fork::{Fork, OneTask, child, exit_now, fork};
use sys::scm_rights::{self, receive, send_now};
use sys::wait;

use crate::error::{Error, Result, strerror};
use crate::net::peer::Peer;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::first_message::{FAILED, PIECE_WAIT, READY, first_message, say};
use crate::serve::line::{FREE, Line};
use crate::serve::notes::Notes;
use crate::serve::question::{Keeping, Question};
use crate::serve::reaper::Reaper;
use crate::serve::signals::{self, Signals};
use crate::serve::signer::{self, Identity};
use crate::setup::heap;

/// The first byte of the message with which the parent gives the keeper the other end of a line; the address of the
/// client that it is for follows, if there is one alone ([`Peer::record`]).
const LINE: [u8; 1] = *b"l";
/// Longest such message in bytes.
const MAX_LINE: usize = 128;
/// The message with which it asks for a signer.
const SIGNER: [u8; 1] = *b"s";
/// The message with which it asks again for what the keeper's first message said.
const FACTS: [u8; 1] = *b"f";
/// Longest wait of the parent, at SIGHUP, for a second look: meanwhile it takes no client.
const FACTS_WAIT: Duration = Duration::from_secs(5);

/// The parent's way to its keeper, which ends when this is dropped and the last line with it.
#[derive(Debug)]
pub(crate) struct Keeper {
    control: OwnedFd,
}

impl Keeper {
    /// Forks the keeper, with the rights that this process has now. `prepare` lets go there of all other
    /// descriptors of this process. `look` returns up to 512 KiB for the server, which `spawn`
    /// returns, and [`Keeper::facts`] later. Each question is answered by `answer`, in a process of its own, whose exit code that gives.
    /// `noted` takes the notes of those processes, in the keeper.
    ///
    /// # Errors
    /// socketpair(2) or fork(2) failed; an error of `prepare`.
    pub(crate) fn spawn(
        (keeping, identity): (Keeping, Option<Arc<dyn Identity>>),
        prepare: impl FnOnce(&dyn Fn() -> Result<Vec<u8>>) -> Result<Vec<u8>>,
        look: &dyn Fn() -> Result<Vec<u8>>,
        answer: impl Fn(Question) -> i32,
        mut noted: impl FnMut(&[u8]),
    ) -> Result<(Keeper, Vec<u8>)> {
        let failed = |call: &str| Error::os(format!("keeper: {call}"));
        let (control, theirs) = scm_rights::pair().map_err(failed("socketpair"))?;
        let alone = OneTask::check().map_err(failed("fork"))?;
        match fork(alone).map_err(failed("fork"))? {
            Fork::Parent(pid) => {
                drop(theirs);
                let _ended = wait::wait_for(pid); // ECHILD where the starter ignores SIGCHLD
                let facts = first_message(&control, PIECE_WAIT)?;
                Ok((Keeper { control }, facts))
            }
            Fork::Child => child(|| {
                drop(control);
                match fork(alone) {
                    Ok(Fork::Parent(_)) => exit_now(0), // and so the keeper is init's child
                    Ok(Fork::Child) => {
                        keeping.show("keeper");
                        match prepare(look) {
                            Ok(facts) => say(&theirs, READY, &facts),
                            Err(error) => {
                                say(&theirs, FAILED, error.to_string().as_bytes());
                                return EXIT_FAILED;
                            }
                        }
                        let lines = Lines::new((keeping, identity), theirs, alone);
                        match lines.and_then(|mut lines| lines.keep(&answer, look, &mut noted)) {
                            Ok(()) => 0,
                            Err(error) => {
                                log::error!("keeper: {error}");
                                EXIT_FAILED
                            }
                        }
                    }
                    Err(errno) => {
                        log::error!("keeper: fork: {}", strerror(errno));
                        EXIT_FAILED
                    }
                }
            }),
        }
    }

    /// A line for a process that will talk to a client: to this one, or, where that is not known, to several.
    ///
    /// # Errors
    /// EMFILE and the like; EPIPE when the keeper has ended; EAGAIN when it does not read.
    pub(crate) fn line(&self, client: Option<Peer>) -> nix::Result<Line> {
        let (ours, theirs) = scm_rights::pair()?;
        let record = client.map(|peer| peer.record()).unwrap_or_default();
        let message = [&LINE, record.as_bytes()].concat();
        send_now(&self.control, &message, Some(theirs.as_fd()))?;
        Ok(if client.is_some() { Line::new(ours) } else { Line::of_several(ours) })
    }

    /// Asks for a signer, whose control this returns.
    ///
    /// # Errors
    /// As [`Keeper::line`].
    pub(crate) fn signer(&self) -> nix::Result<OwnedFd> {
        let (ours, theirs) = scm_rights::pair()?;
        send_now(&self.control, &SIGNER, Some(theirs.as_fd()))?;
        Ok(ours)
    }

    /// Has a process of the keeper's look again; returns what it has found.
    ///
    /// # Errors
    /// As [`Keeper::line`]; those of `look`; no answer came in time.
    pub(crate) fn facts(&self) -> Result<Vec<u8>> {
        let failed = |call: &str| Error::os(format!("keeper: {call}"));
        let (ours, theirs) = scm_rights::pair().map_err(failed("socketpair"))?;
        let sent = send_now(&self.control, &FACTS, Some(theirs.as_fd()));
        sent.map_err(failed("sendmsg"))?;
        drop(theirs);
        first_message(&ours, FACTS_WAIT)
    }
}

/// Lines that are waited for without memory of the heap.
const FEW: usize = 32;
/// Numbers of lines.
type Numbers = SmallVec<[usize; FEW]>;

/// What the keeper was woken by.
#[derive(Default)]
struct Ready {
    /// The parent gives a line, or has ended.
    control: bool,
    notes: bool,
    /// The lines with a question.
    asked: Numbers,
}

/// A line, with the process that answers its question.
struct Asker {
    line: OwnedFd,
    /// The client that it is for, as the parent has said it; read by the process that answers.
    client: Vec<u8>,
    answering: Option<Pid>,
    /// When the process that asked was seen to have ended.
    gone: Option<Instant>,
}

/// The keeper's side of all lines.
struct Lines {
    keeping: Keeping,
    /// What signers read.
    identity: Option<Arc<dyn Identity>>,
    /// `None` once the parent has ended.
    control: Option<OwnedFd>,
    lines: Vec<Asker>,
    /// `None` in the processes that are forked here.
    notes: Option<Notes>,
    alone: OneTask,
    signals: Signals,
}

impl Lines {
    /// No signal ends the keeper: it ends when it is not needed any more. In a process group of its own, so
    /// that one to the server's group leaves it alone.
    fn new(
        (keeping, identity): (Keeping, Option<Arc<dyn Identity>>),
        control: OwnedFd,
        alone: OneTask,
    ) -> Result<Lines> {
        setpgid(Pid::this(), Pid::this()).map_err(Error::os("setpgid"))?;
        chdir("/").map_err(Error::os("chdir /"))?;
        let signals = Signals::new(Reaper::Waitpid)?;
        signals.handle()?;
        let notes = Some(Notes::new().map_err(Error::os("socketpair"))?);
        let (control, lines) = (Some(control), Vec::new());
        Ok(Lines { keeping, identity, control, lines, notes, alone, signals })
    }

    fn keep(
        &mut self,
        answer: &impl Fn(Question) -> i32,
        look: &dyn Fn() -> Result<Vec<u8>>,
        noted: &mut impl FnMut(&[u8]),
    ) -> Result<()> {
        heap::take_holes();
        loop {
            self.reap();
            self.end_orphans();
            if self.control.is_none() && self.lines.is_empty() {
                debug!("keeper: the server has ended");
                return Ok(());
            }
            let ready = self.wait()?;
            if ready.notes {
                self.notes.iter().for_each(|notes| notes.read(noted)); // before those are forked that ask for it
            }
            // From the last one: the numbers of those before stay.
            for number in ready.asked.into_iter().rev() {
                self.ask(number, answer);
            }
            if ready.control {
                self.take_line(look);
            }
        }
    }

    /// Frees the lines whose questions are answered. One whose process has failed is closed, so that the
    /// process that asked does not wait for an answer; and one whose client was served to the end, unless another
    /// client's questions follow: then its process receives a message.
    fn reap(&mut self) {
        for ended in wait::collect() {
            let is_its = |it: &Asker| it.answering.is_some_and(|pid| pid.as_raw() == ended.pid);
            let Some(number) = self.lines.iter().position(is_its) else { continue };
            match self.lines.get_mut(number) {
                Some(it) if ended.code() == Some(EXIT_OK) && it.gone.is_none() => {
                    it.answering = None;
                }
                Some(it) if self.keeping.serves_next(&ended) && it.gone.is_none() => {
                    it.answering = None;
                    let _ = send_now(&it.line, &FREE, None); // EPIPE: the next wait sees it
                }
                _ => drop(self.lines.swap_remove(number)),
            }
        }
    }

    /// Kills the processes that go on for too long after the session that asked has ended, because a user can stop such
    /// a process for ever. Their numbers are still theirs: children are reaped in [`Lines::wait`] alone, and those that
    /// were have left the list since.
    fn end_orphans(&mut self) {
        let limit = self.keeping.orphan_limit();
        for asker in &mut self.lines {
            if let (Some(pid), Some(gone)) = (asker.answering, asker.gone)
                && gone.elapsed() >= limit
            {
                warn!("keeper: process {pid} does not end though its asker has: killed");
                if let Err(errno) = kill(pid, Signal::SIGKILL) {
                    warn!("keeper: kill {pid}: {}", strerror(errno));
                }
                asker.gone = Some(Instant::now());
            }
        }
    }

    /// Waits until the parent, a line or a note is ready. Of few lines all that this works with lies on the stack: a
    /// page of the heap would be copied after each fork.
    fn wait(&mut self) -> Result<Ready> {
        // While its question is answered, of a line only the end is waited for.
        let events = |it: &Asker| match it.answering {
            Some(_) => PollFlags::empty(), // POLLHUP comes without asking
            None => PollFlags::POLLIN,
        };
        let waited = self.lines.iter().enumerate().filter(|(_, it)| it.gone.is_none());
        let (mut numbers, mut fds): (Numbers, SmallVec<[PollFd<'_>; FEW]>) =
            waited.map(|(n, it)| (n, PollFd::new(it.line.as_fd(), events(it)))).unzip();
        fds.extend(self.control.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        // Behind the lines: a note that was sent before a question came is seen with that.
        fds.extend(self.notes.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        let limit = self.keeping.orphan_limit();
        let due = self.lines.iter().filter_map(|it| it.gone);
        let due = due.map(|gone| limit.saturating_sub(gone.elapsed())).min();
        if !self.signals.wait(&mut fds, due.map(TimeSpec::from))? {
            return Ok(Ready::default());
        }
        let mut is_ready = fds.iter().map(|fd| fd.any() != Some(false));
        numbers.retain(|_| is_ready.next() == Some(true));
        let control = self.control.is_some() && is_ready.next() == Some(true);
        let notes = is_ready.next() == Some(true);
        drop(fds);
        let now = Instant::now();
        numbers.retain(|number| match self.lines.get_mut(*number) {
            Some(Asker { answering: Some(_), gone, .. }) => {
                *gone = Some(now);
                false
            }
            _ => true,
        });
        Ok(Ready { control, notes, asked: numbers })
    }

    /// Takes a line that the parent has made, or sees that the parent has ended.
    fn take_line(&mut self, look: &dyn Fn() -> Result<Vec<u8>>) {
        let Some(control) = &self.control else { return };
        let mut message = [0; MAX_LINE];
        let received = receive(control, &mut message);
        let length = received.as_ref().map_or(0, |(length, _)| *length);
        let message = message.get(..length).unwrap_or_default();
        match received {
            Ok((1.., Some(control))) if message == SIGNER => self.start_signer(control),
            Ok((1.., Some(asker))) if message == FACTS => self.look_again(&asker, look),
            Ok((1.., Some(line))) if self.lines.len() < self.keeping.lines() => {
                let client = message.get(1..).unwrap_or_default().to_vec();
                self.lines.push(Asker { line, client, answering: None, gone: None });
            }
            Ok((1.., _)) => warn!("keeper: too many lines"),
            Ok((0, _)) | Err(_) => self.control = None,
        }
    }

    /// Forks a signer. It lets no signal in, as the keeper.
    fn start_signer(&mut self, control: OwnedFd) {
        let Some(identity) = self.identity.clone() else { return };
        match fork(self.alone) {
            Ok(Fork::Parent(_)) => {}
            Ok(Fork::Child) => child(|| {
                self.lines.clear();
                (self.control, self.notes) = (None, None);
                signer::run(&*identity, control, self.keeping)
            }),
            Err(errno) => warn!("keeper: fork of a signer: {}", strerror(errno)),
        }
    }

    /// Forks a process that looks again, and says what it has found.
    fn look_again(&mut self, asker: &OwnedFd, look: &dyn Fn() -> Result<Vec<u8>>) {
        match fork(self.alone) {
            Ok(Fork::Parent(_)) => {}
            Ok(Fork::Child) => child(|| {
                self.lines.clear();
                (self.control, self.notes) = (None, None);
                if let Err(errno) = signals::restore() {
                    warn!("sigaction: {}", strerror(errno));
                }
                self.keeping.show("SIGHUP");
                match look() {
                    Ok(facts) => say(asker, READY, &facts),
                    Err(error) => say(asker, FAILED, error.to_string().as_bytes()),
                }
                EXIT_OK
            }),
            Err(errno) => warn!("keeper: fork: {}", strerror(errno)), // the asker finds it closed
        }
    }

    /// Forks the process that reads the question of a line and answers it.
    fn ask(&mut self, number: usize, answer: &impl Fn(Question) -> i32) {
        let Some(Asker { line, answering, .. }) = self.lines.get_mut(number) else { return };
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(line.as_raw_fd(), &mut [0], peek) {
            Ok(1..) => {}
            Err(Errno::EINTR | Errno::EAGAIN) => return, // poll(2) tells again
            _ => {
                self.lines.swap_remove(number); // its process has ended
                return;
            }
        }
        match fork(self.alone) {
            Ok(Fork::Parent(pid)) => *answering = Some(pid),
            Ok(Fork::Child) => child(|| {
                let Asker { line, client, .. } = self.lines.swap_remove(number);
                self.lines.clear();
                self.control = None;
                if let Err(errno) = signals::restore() {
                    warn!("sigaction: {}", strerror(errno));
                }
                let notes = self.notes.take().map(Notes::into_line);
                match Question::read((line, Peer::parse(&client)), notes, self.keeping) {
                    Ok(question) => answer(question),
                    Err(errno) => {
                        warn!("keeper: a question: {}", strerror(errno));
                        EXIT_FAILED
                    }
                }
            }),
            Err(errno) => {
                warn!("keeper: fork: {}", strerror(errno));
                self.lines.swap_remove(number); // the asker finds its line closed
            }
        }
    }
}
