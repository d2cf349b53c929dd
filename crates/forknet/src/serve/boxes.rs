//! Processes that a process of the keeper's forks, one for each user that a question is about.
//!
//! Each has a line to the process that has forked it, and nothing of the others'.

use std::fmt::Display;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use log::{debug, warn};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use sys::fork::{Fork, OneTask, child, fork};
use sys::scm_rights::pair;
use sys::wait;

use crate::error::{reason, strerror};
use crate::net::connection::Connection;
use crate::net::peer::Peer;
use crate::serve::line::Line;
use crate::serve::question::Question;

/// A question, and the processes that help to answer it.
#[derive(Debug)]
pub struct Boxes {
    /// `None` in a process that was forked here.
    question: Option<Question>,
    /// By their numbers; `None` for one that was ended.
    boxes: Vec<Option<(Pid, Line)>>,
    /// Processes that were ended and may not have.
    ending: Vec<Pid>,
}

impl Boxes {
    /// Begins with none. Of a worker's clients, who come one after the other, memory is wiped as it is freed: a process that is
    /// forked for one must not have what another one has left.
    #[must_use]
    pub fn new(question: Question) -> Boxes {
        if question.is_of_several() {
            sys::wipe::wipe_freed();
        }
        Boxes { question: Some(question), boxes: Vec::new(), ending: Vec::new() }
    }

    /// Forks a process, which shows this title, runs `life` with a line to this one and returns its exit
    /// code; returns its number. When this process ends, that one reads the end of its line.
    ///
    /// # Errors
    /// As socketpair(2) and fork(2).
    pub fn fork(
        &mut self,
        title: impl Display,
        life: impl FnOnce(&Line) -> i32,
    ) -> io::Result<usize> {
        self.reap();
        let (ours, theirs) = pair()?;
        match fork(OneTask::check()?)? {
            Fork::Parent(pid) => {
                let entry = Some((pid, Line::new(ours)));
                match self.boxes.iter().position(Option::is_none) {
                    Some(free) => {
                        self.boxes.iter_mut().skip(free).take(1).for_each(|it| {
                            it.clone_from(&entry);
                        });
                        Ok(free)
                    }
                    None => {
                        self.boxes.push(entry);
                        Ok(self.boxes.len() - 1)
                    }
                }
            }
            Fork::Child => child(|| {
                drop(ours);
                self.question.iter().for_each(|question| question.show(&title));
                // Another user's process must neither read nor answer for this one.
                (self.question, self.boxes) = (None, Vec::new());
                life(&Line::new(theirs))
            }),
        }
    }

    fn line(&self, number: usize) -> io::Result<&Line> {
        let entry = self.boxes.get(number).and_then(Option::as_ref);
        Ok(&entry.ok_or(Errno::EPIPE)?.1)
    }

    /// Sends a message, and a copy of a descriptor if there is one. Never waits.
    ///
    /// # Errors
    /// The process has ended, or does not read.
    pub fn send(
        &self,
        number: usize,
        message: &[u8],
        with: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.line(number)?.send(message, with)
    }

    /// Waits for a message until `until`; `None` from a process that has ended, or is late: that one is
    /// killed, because its user can stop it for ever. Where the message cannot be received, it is not: it may take
    /// back what it has done when its line is closed.
    #[must_use]
    pub fn receive(&mut self, number: usize, until: Instant) -> Option<Vec<u8>> {
        let left = until.saturating_duration_since(Instant::now());
        match self.line(number).and_then(|line| line.receive(left)) {
            Ok(message) => message.map(|(message, _)| message),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.kill(number);
                None
            }
            Err(error) => {
                warn!("an answer of a process: {}", reason(&error));
                None
            }
        }
    }

    /// Kills a process, which then takes nothing back.
    pub fn kill(&self, number: usize) {
        if let Some(Some((pid, _))) = self.boxes.get(number) {
            kill_child(*pid);
        }
    }

    /// Closes the line to a process, which ends when it reads that.
    pub fn end(&mut self, number: usize) {
        let entry = self.boxes.get_mut(number).and_then(Option::take);
        self.ending.extend(entry.map(|(pid, _)| pid));
        self.reap();
    }

    /// waitpid(2) for those that have ended.
    fn reap(&mut self) {
        let is_there = |pid: &Pid| {
            matches!(waitpid(*pid, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
        };
        self.ending.retain(is_there);
    }

    /// Leaves nothing of a client to the processes that are forked for the next one.
    pub fn end_client(&mut self) {
        self.reap();
        sys::wipe::wipe_stack();
    }

    /// As [`Question::take_text`].
    #[must_use]
    pub fn take_text(&mut self) -> Vec<u8> {
        self.question.as_mut().map(Question::take_text).unwrap_or_default()
    }

    /// As [`Question::may_be_from`]; never in a process that was forked here.
    #[must_use]
    pub fn may_be_from(&self, peer: Peer) -> bool {
        self.question.as_ref().is_some_and(|question| question.may_be_from(peer))
    }

    /// As [`Question::show`].
    pub fn show(&self, text: impl Display) {
        if let Some(question) = &self.question {
            question.show(text);
        }
    }

    /// As [`Question::next_part`].
    ///
    /// # Errors
    /// As [`Question::next_part`].
    pub fn next_part(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        self.question.as_ref().ok_or(Errno::EPIPE)?.next_part(limit)
    }

    /// As [`Question::ask_back`].
    ///
    /// # Errors
    /// As [`Question::ask_back`].
    pub fn ask_back(&mut self, answer: &[u8], limit: Duration) -> io::Result<()> {
        self.question.as_mut().ok_or(Errno::EPIPE)?.ask_back(answer, limit)
    }

    /// As [`Question::ask_back_with`].
    ///
    /// # Errors
    /// As [`Question::ask_back_with`].
    pub fn ask_back_with(
        &mut self,
        answer: &[u8],
        with: Connection,
        limit: Duration,
    ) -> io::Result<()> {
        self.question.as_mut().ok_or(Errno::EPIPE)?.ask_back_with(answer, with, limit)
    }

    /// Ends all processes, and goes on with the question alone.
    ///
    /// # Errors
    /// This is a process that was forked here.
    pub fn into_question(self) -> io::Result<Question> {
        Ok(self.question.ok_or(Errno::EPIPE)?)
    }
}

/// Kills a process that was forked here and is not reaped.
fn kill_child(pid: Pid) {
    if !wait::is_child(pid) {
        return;
    }
    if let Err(errno) = kill(pid, Signal::SIGKILL) {
        debug!("kill {pid}: {}", strerror(errno));
    }
}

impl Line {
    /// Sends a message. Never waits.
    ///
    /// # Errors
    /// The other end is closed or does not read.
    pub fn send_message(&self, message: &[u8]) -> io::Result<()> {
        self.send(message, None)
    }

    /// Waits for a message, and the descriptor that comes with it; `None` when the other end is closed.
    ///
    /// # Errors
    /// `TimedOut` when nothing came within the limit.
    pub fn receive_message(
        &self,
        limit: Duration,
    ) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        self.receive(limit)
    }
}
