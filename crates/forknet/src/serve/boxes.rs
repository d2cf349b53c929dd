//! Processes that a process of the keeper's forks in turn, one for each user that a question is about.
//!
//! Each has a line to the process that has forked it, and nothing of the others'.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use log::debug;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;
use sys::fork::{Fork, OneTask, child, fork};
use sys::scm_rights::pair;
use sys::wait;

use crate::error::{reason, strerror};
use crate::serve::line::Line;
use crate::serve::question::Question;

/// A question, and the processes that help to answer it.
#[derive(Debug)]
pub struct Boxes {
    /// `None` in a process that was forked here.
    question: Option<Question>,
    boxes: Vec<(Pid, Line)>,
}

impl Boxes {
    /// Begins with none.
    #[must_use]
    pub fn new(question: Question) -> Boxes {
        Boxes { question: Some(question), boxes: Vec::new() }
    }

    /// Forks a process, which shows this title, runs `life` with a line to this one and returns its exit
    /// code. When this process ends, that one reads the end of its line.
    ///
    /// # Errors
    /// As socketpair(2) and fork(2).
    pub fn fork(&mut self, title: impl Display, life: impl FnOnce(&Line) -> i32) -> io::Result<()> {
        let (ours, theirs) = pair()?;
        match fork(OneTask::check()?)? {
            Fork::Parent(pid) => {
                self.boxes.push((pid, Line::new(ours)));
                Ok(())
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

    /// Sends a message to all. One that has ended is seen by [`Boxes::receive`].
    pub fn send(&self, message: &[u8]) {
        for (pid, line) in &self.boxes {
            if let Err(error) = line.send_message(message) {
                debug!("process {pid}: {}", reason(&error));
            }
        }
    }

    /// Waits for a message of each, until `until`; `None` for one that has ended, or is late: that one is
    /// killed, because its user can stop it for ever.
    #[must_use]
    pub fn receive(&mut self, until: Instant) -> Vec<Option<Vec<u8>>> {
        let receive = |(pid, line): &(Pid, Line)| {
            let left = until.saturating_duration_since(Instant::now());
            match line.receive_message(left) {
                Ok(message) => message,
                Err(error) => {
                    debug!("process {pid}: {}", reason(&error));
                    end(*pid);
                    None
                }
            }
        };
        self.boxes.iter().map(receive).collect()
    }

    /// Has all read the end of their lines, and waits until they have ended too, until `until`.
    pub fn end(&mut self, until: Instant) {
        for (_, line) in &self.boxes {
            let _ = shutdown(line.as_fd().as_raw_fd(), Shutdown::Write); // ENOTCONN: it has ended
        }
        while self.receive(until).iter().any(Option::is_some) {}
    }

    /// Gives the last word on the question; returns the exit code of this process.
    #[must_use]
    pub fn answer(mut self, answer: &[u8]) -> i32 {
        self.boxes.clear();
        self.question.map_or(0, |question| question.answer(answer))
    }
}

/// Kills a process that was forked here and is not reaped.
fn end(pid: Pid) {
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

    /// Waits for a message; `None` when the other end is closed.
    ///
    /// # Errors
    /// `TimedOut` when nothing came within the limit.
    pub fn receive_message(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        Ok(self.receive(limit)?.map(|(message, _)| message))
    }
}
