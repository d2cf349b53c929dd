//! The keeper: a process that keeps the rights that the server gives up.
//!
//! The processes that talk to clients have no rights. Where a protocol needs some, for a password or a
//! user's files, such a process asks the keeper, over a line of its own. The keeper looks at nothing that
//! comes over a line: it reads one bounded message and forks (the slide again) a process that answers. That
//! one may then become a user and serve what is his, for as long as the line lasts.
//!
//! A line has one question at a time. The next one is read when the process that answered has ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use log::{debug, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Pid, chdir, setpgid};
use sys::fork::{Fork, OneTask, child, exit_now, fork};
use sys::scm_rights::{self, receive, send_now};
use sys::wait;

use crate::error::{Error, Result, strerror};
use crate::serve::reaper::Reaper;
use crate::serve::session::EXIT_FAILED;
use crate::serve::signals::{self, Signals};
use crate::serve::title::Titles;

/// Longest question and longest answer, in bytes: a SASL response has at most 12,288 octets (RFC 4954 §4).
pub const LONGEST_MESSAGE: usize = 16 * 1024;
/// The message with which the parent gives the keeper the other end of a line.
const LINE: [u8; 1] = *b"l";

/// The parent's way to its keeper, which ends when this is dropped and the last line with it.
#[derive(Debug)]
pub(crate) struct Keeper {
    control: OwnedFd,
}

/// A line to the keeper, in the process that talks to a client.
#[derive(Debug)]
pub struct Line(OwnedFd);

/// A question, in the process that was forked to answer it, with the keeper's rights.
#[derive(Debug)]
pub struct Question {
    /// What was asked: bytes of a process that may have been taken over.
    pub text: Vec<u8>,
    /// Where the answer goes, and what follows it.
    pub line: Line,
    /// What `ps` shows of this process.
    pub title: KeeperTitle,
}

/// The title of a process of the keeper's.
#[derive(Clone, Copy, Debug)]
pub struct KeeperTitle(Titles);

impl KeeperTitle {
    /// Shows `NAME: TEXT`.
    pub fn set(&self, text: impl std::fmt::Display) {
        self.0.show(text);
    }
}

impl Line {
    /// Sends a message, and a copy of a descriptor where there is one. Never waits.
    ///
    /// # Errors
    /// The other end is closed, or does not read.
    pub fn send(&self, message: &[u8], with: Option<BorrowedFd<'_>>) -> io::Result<()> {
        Ok(send_now(&self.0, message, with)?)
    }

    /// Receives a message, of at most [`LONGEST_MESSAGE`] bytes, and the descriptor that comes with it.
    /// `None`: the other end is closed.
    ///
    /// # Errors
    /// `TimedOut` when nothing came within the limit.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let millis = limit.as_millis().clamp(1, i64::MAX as u128) as i64;
        setsockopt(&self.0, sockopt::ReceiveTimeout, &TimeVal::milliseconds(millis))?;
        let mut buffer = vec![0; LONGEST_MESSAGE];
        match receive(&self.0, &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok(None),
            Ok((length, with)) => {
                buffer.truncate(length);
                Ok(Some((buffer, with)))
            }
            Err(Errno::EAGAIN) => Err(Errno::ETIMEDOUT.into()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Keeper {
    /// Forks the keeper, with the rights that this process has now. It lets go of all other descriptors of
    /// this process by `let_go`, holds at most `lines` lines, and has each question answered by `answer`, in
    /// a process of its own, whose exit code that gives.
    ///
    /// # Errors
    /// socketpair(2) or fork(2) failed.
    pub(crate) fn spawn(
        titles: Titles,
        lines: usize,
        let_go: impl FnOnce(),
        answer: impl Fn(Question) -> i32,
    ) -> Result<Keeper> {
        let failed = |call: &str| Error::os(format!("keeper: {call}"));
        let (control, theirs) = scm_rights::pair().map_err(failed("socketpair"))?;
        let alone = OneTask::check().map_err(failed("fork"))?;
        match fork(alone).map_err(failed("fork"))? {
            Fork::Parent(_) => Ok(Keeper { control }),
            Fork::Child => child(|| {
                drop(control);
                match fork(alone) {
                    Ok(Fork::Parent(_)) => exit_now(0), // and so the keeper is init's child
                    Ok(Fork::Child) => {
                        let_go();
                        titles.show("keeper");
                        let keeping = Keeping::new(titles, theirs, lines, alone);
                        match keeping.and_then(|mut keeping| keeping.keep(&answer)) {
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

    /// A line for a process that will talk to a client.
    ///
    /// # Errors
    /// EMFILE and the like; EPIPE when the keeper has ended; EAGAIN when it does not read.
    pub(crate) fn line(&self) -> nix::Result<Line> {
        let (ours, theirs) = scm_rights::pair()?;
        send_now(&self.control, &LINE, Some(theirs.as_fd()))?;
        Ok(Line(ours))
    }
}

/// The keeper itself.
struct Keeping {
    titles: Titles,
    /// `None` once the parent has ended.
    control: Option<OwnedFd>,
    /// Each with the process that answers its question.
    lines: Vec<(OwnedFd, Option<Pid>)>,
    most: usize,
    alone: OneTask,
    signals: Signals,
}

impl Keeping {
    /// No signal ends the keeper: it ends when it is not needed any more. In a process group of its own, so
    /// that one to the server's group leaves it alone.
    fn new(titles: Titles, control: OwnedFd, most: usize, alone: OneTask) -> Result<Keeping> {
        setpgid(Pid::this(), Pid::this()).map_err(Error::os("setpgid"))?;
        chdir("/").map_err(Error::os("chdir /"))?;
        let signals = Signals::new(Reaper::Waitpid)?;
        signals.handle()?;
        Ok(Keeping { titles, control: Some(control), lines: Vec::new(), most, alone, signals })
    }

    fn keep(&mut self, answer: &impl Fn(Question) -> i32) -> Result<()> {
        while self.control.is_some() || !self.lines.is_empty() {
            let (is_control_ready, ready) = self.wait()?;
            for ended in wait::collect() {
                let answering = |(_, pid): &&mut (OwnedFd, Option<Pid>)| {
                    pid.is_some_and(|pid| pid.as_raw() == ended.pid)
                };
                self.lines.iter_mut().find(answering).into_iter().for_each(|line| line.1 = None);
            }
            // From the last one: the numbers of those before stay.
            for number in ready.into_iter().rev() {
                self.ask(number, answer);
            }
            if is_control_ready {
                self.take_line();
            }
        }
        debug!("keeper: the server has ended");
        Ok(())
    }

    /// Waits until the parent or a line is ready; gives the numbers of the lines.
    fn wait(&self) -> Result<(bool, Vec<usize>)> {
        let is_free = |line: &(usize, &(OwnedFd, Option<Pid>))| line.1.1.is_none();
        let (numbers, lines): (Vec<usize>, Vec<BorrowedFd<'_>>) = self
            .lines
            .iter()
            .enumerate()
            .filter(is_free)
            .map(|(n, line)| (n, line.0.as_fd()))
            .unzip();
        let control = self.control.iter().map(AsFd::as_fd);
        let mut fds: Vec<_> =
            lines.into_iter().chain(control).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if !self.signals.wait(&mut fds, None)? {
            return Ok((false, Vec::new()));
        }
        let is_ready = |fd: &PollFd<'_>| fd.any() != Some(false);
        let ready = numbers.iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(n, _)| *n);
        let ready = ready.collect();
        Ok((fds.get(numbers.len()).is_some_and(is_ready), ready))
    }

    /// Takes a line that the parent has made, or hears that the parent has ended.
    fn take_line(&mut self) {
        let Some(control) = &self.control else { return };
        match receive(control, &mut [0]) {
            Ok((1.., Some(line))) if self.lines.len() < self.most => self.lines.push((line, None)),
            Ok((1.., _)) => warn!("keeper: too many lines"),
            Ok((0, _)) | Err(_) => self.control = None,
        }
    }

    /// Reads the question of a line, and forks the process that answers it.
    fn ask(&mut self, number: usize, answer: &impl Fn(Question) -> i32) {
        let Some((line, answering)) = self.lines.get_mut(number) else { return };
        let mut text = vec![0; LONGEST_MESSAGE];
        // What comes with a question is closed: only an answering process takes descriptors.
        let length = receive(line, &mut text).map_or(0, |(length, _)| length);
        if length == 0 {
            self.lines.swap_remove(number);
            return;
        }
        text.truncate(length);
        match fork(self.alone) {
            Ok(Fork::Parent(pid)) => *answering = Some(pid),
            Ok(Fork::Child) => child(|| {
                let (line, _) = self.lines.swap_remove(number);
                self.lines.clear();
                self.control = None;
                if let Err(errno) = signals::restore() {
                    warn!("sigaction: {}", strerror(errno));
                }
                answer(Question { text, line: Line(line), title: KeeperTitle(self.titles) })
            }),
            Err(errno) => {
                warn!("keeper: fork: {}", strerror(errno));
                self.lines.swap_remove(number); // the asker finds its line closed
            }
        }
    }
}
