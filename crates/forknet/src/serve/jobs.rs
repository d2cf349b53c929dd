//! One process per job: a parent that has no clients, and work to give away.
//!
//! The loop is the slide's, with "what is next?" in place of accept. [`Jobs`] says what there is to do.

use std::fmt::Display;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use log::warn;
use nix::sys::signal::Signal;
use sys::fork::{Fork, OneTask, child, fork};

use crate::error::{Result, reason, strerror};
use crate::log::transcript::Transcript;
use crate::net::counters::Counters;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::master::{Master, Round};
use crate::serve::scoreboard::Slot;
use crate::serve::title::Title;

/// Longest wait after fork(2) has failed.
const FORK_PAUSE: Duration = Duration::from_millis(200);

/// Time between two attempts to end a process.
const KILL_PAUSE: Duration = Duration::from_millis(200);

/// The work of a parent. [`Jobs::run`] is called in the process of a job, all else in the parent.
pub trait Jobs {
    /// What one process does.
    type Job;

    /// Returns the descriptors that wake the parent when they become readable.
    fn wakers(&self) -> Vec<BorrowedFd<'_>>;

    /// Does what is due in the parent itself, after each wake-up and before [`Jobs::next`]; a little at a time, because
    /// signals wait meanwhile.
    fn tend(&mut self);

    /// Returns the next job that is due and may have a process now.
    fn next(&mut self) -> Option<Self::Job>;

    /// Returns the longest wait until the parent has something to do again; `None` for ever.
    fn due_in(&mut self) -> Option<Duration>;

    /// Notes that the process of this slot does this job from now on.
    fn begins(&mut self, slot: Slot, job: Self::Job);

    /// Takes back a job for which there is no process.
    fn cannot_begin(&mut self, job: Self::Job);

    /// Notes that the process of this slot has ended, before the slot is given to another. `is_ok`: with exit code 0.
    fn has_ended(&mut self, slot: Slot, is_ok: bool);

    /// Returns whether all is done, and nothing is waited for.
    fn is_over(&self) -> bool;

    /// Logs what there is to do (SIGUSR1).
    fn log_table(&self);

    /// Does a job.
    ///
    /// # Errors
    /// The reason is logged, and the process ends with exit code 1.
    fn run(&self, job: &Self::Job, work: &mut Work<'_>) -> io::Result<()>;
}

/// What the process of a job has.
pub struct Work<'m> {
    master: &'m Master,
    /// Counters of bytes, and numbers that the process and its parent share.
    pub counters: Counters,
    title: Title,
    /// Longest silence of another host (`--timeout`).
    pub timeout: Duration,
}

impl Work<'_> {
    /// Returns the process's title in `ps`.
    #[must_use]
    pub fn title(&self) -> &Title {
        &self.title
    }

    /// Returns the transcript of a dialogue with this host.
    #[must_use]
    pub fn transcript_of(&self, peer: impl Display) -> Transcript {
        self.master.transcript_of(peer)
    }
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

/// next job, fork, and again.
#[inline(never)]
pub(crate) fn run<J: Jobs>(mut master: Master, mut jobs: J) -> Result<()> {
    let alone = master.alone()?; // proof of one task, for fork
    master.set_logs_no_ends();
    master.ready()?;
    let mut pause = None;
    loop {
        let timeout = [pause, jobs.due_in(), deadline_in(&mut master)].into_iter().flatten().min();
        let clients = master.children().len();
        let round = Round { accepting: false, clients, timeout };
        let ready = master.wait_for_others(&round, &jobs.wakers())?; // ppoll, where signals are delivered
        reap(&mut master, &mut jobs);
        if ready.table_wanted {
            jobs.log_table();
        }
        if master.must_stop() {
            return master.shut_down_with(|master| {
                reap(master, &mut jobs);
                master.clients()
            });
        }
        end_overdue(&mut master);
        jobs.tend();
        pause = start_all(&mut master, &mut jobs, alone);
        if jobs.is_over() && master.clients() == 0 {
            return master.shut_down();
        }
    }
}

/// Starts what is due, as long as there are slots; returns how long to wait where fork(2) has failed.
fn start_all<J: Jobs>(master: &mut Master, jobs: &mut J, alone: OneTask) -> Option<Duration> {
    while !master.children().is_full() {
        let job = jobs.next()?;
        let Some(slot) = master.children().admit_worker() else {
            jobs.cannot_begin(job);
            return None;
        };
        match fork(alone) {
            Ok(Fork::Child) => child(|| work(master, jobs, &job, slot)),
            Ok(Fork::Parent(pid)) => {
                master.children().add(pid, slot);
                jobs.begins(slot, job);
            }
            Err(errno) => {
                warn!("fork: {}", strerror(errno));
                master.children().release(slot);
                jobs.cannot_begin(job);
                return Some(FORK_PAUSE);
            }
        }
    }
    None
}

/// Does a job in the child; returns its exit code.
fn work<J: Jobs>(master: &mut Master, jobs: &J, job: &J::Job, slot: Slot) -> i32 {
    master.close_listeners();
    let mut work = Work {
        counters: slot.counters(),
        title: master.titles().working("starting"),
        timeout: master.options().timeout,
        master,
    };
    match jobs.run(job, &mut work) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            warn!("{}", reason(&error));
            EXIT_FAILED
        }
    }
}

/// Tells the jobs whose processes have ended.
fn reap(master: &mut Master, jobs: &mut impl Jobs) {
    for child in master.ended_children() {
        child.log(false);
        jobs.has_ended(child.slot, child.ended.code() == Some(EXIT_OK));
    }
}

/// Returns the time until a process has worked for `--deadline`.
fn deadline_in(master: &mut Master) -> Option<Duration> {
    let deadline = master.options().deadline;
    let left = |age| deadline.saturating_sub(age).max(KILL_PAUSE);
    master.children().iter().map(|(_, _, age)| left(age)).min()
}

/// Ends the processes that have worked for `--deadline`.
fn end_overdue(master: &mut Master) {
    let deadline = master.options().deadline;
    let overdue = master.children().iter().filter(|(_, _, age)| *age >= deadline);
    for (pid, slot, age) in overdue.collect::<Vec<_>>() {
        warn!("pid {pid}: at work for {} s, the limit of --deadline", age.as_secs());
        master.children().signal_one(slot, Signal::SIGKILL);
    }
}
