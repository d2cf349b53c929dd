//! The children: the process of each slot, and its age.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sys::fork::OneTask;
use sys::private_memory::Table;
use sys::shared_memory::Layout;
use sys::signal::kill_child;
use sys::wait::{self, Ended};

use crate::error::{Error, Result, strerror};
use crate::log::contract::{self, Account, Process};
use crate::net::interrupt::POLL_INTERVAL;
use crate::net::peer::Peer;
use crate::options::ServerOptions;
use crate::serve::client_log;
use crate::serve::exit_code::EXIT_OK;
use crate::serve::limits::{Limits, Refusal};
use crate::serve::permit::{self, Answer, ParentEnd, Question, WorkerEnd};
use crate::serve::reaper::Reaper;
use crate::serve::scoreboard::{Scoreboard, Slot};

/// A process and its slot, in memory that no child inherits.
#[derive(Clone, Copy, Debug)]
struct Child {
    slot: Slot,
    since: Instant,
    /// The client of a prefork worker, which counts for the limits.
    admitted: Option<Peer>,
}

/// All children that have a slot and were not reaped yet, and their limits.
#[derive(Debug)]
pub(crate) struct Children {
    /// The process of each slot; 0 for none. Separate from the rest, because they are searched.
    pids: Table<i32>,
    table: Table<Option<Child>>,
    count: usize,
    board: Scoreboard,
    limits: Limits,
    max_clients: usize,
    reaper: Reaper,
    /// By number of the slot, those that may ask about the client that a proxy tells them.
    asking: Vec<(usize, ParentEnd)>,
}

/// A child that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedChild {
    pub(crate) ended: Ended,
    pub(crate) slot: Slot,
    /// Time since its start.
    pub(crate) age: Duration,
}

impl Children {
    /// Makes an empty table; `layout` is that of the lines shared with the children.
    pub(crate) fn new(options: &ServerOptions, reaper: Reaper, layout: Layout) -> Result<Children> {
        let clients = options.max_clients;
        let fail = || Error::os("mmap of private memory");
        Ok(Children {
            pids: Table::with_room(clients).map_err(fail())?,
            table: Table::with_room(clients).map_err(fail())?,
            count: 0,
            board: Scoreboard::new(clients, layout)?,
            limits: Limits::new(clients, options.max_per_ip, options.rate, options.network_bits)?,
            max_clients: clients,
            reaper,
            asking: Vec::new(),
        })
    }

    /// Acquires a slot for a client, or returns the limit that it would exceed.
    pub(crate) fn admit(&mut self, peer: Peer) -> std::result::Result<Slot, Refusal> {
        // Checked first, because the next check counts under --rate, and may be repeated.
        if self.is_full() {
            return Err(Refusal::Full(self.max_clients));
        }
        match self.limits.admit(peer) {
            Err(Refusal::PerAddress(_)) if self.release_zombies() => self.limits.admit(peer)?,
            answer => answer?,
        }
        self.board.take(Some(peer)).ok_or(Refusal::Full(self.max_clients))
    }

    /// Lets the process or thread of a slot ask, once, about the client that a proxy tells it.
    ///
    /// # Errors
    /// EMFILE and the like.
    pub(crate) fn let_ask(&mut self, slot: Slot) -> nix::Result<WorkerEnd> {
        let (theirs, ours) = permit::pair()?;
        self.asking.push((slot.number(), ours));
        Ok(theirs)
    }

    /// Returns the slots whose processes ask now, by number, and the clients that their proxies have named. A process
    /// that sends anything else may not ask again.
    pub(crate) fn told(&mut self) -> Vec<(usize, Peer)> {
        let mut told = Vec::new();
        self.asking.retain(|(number, end)| match end.question() {
            Question::Nothing => true,
            Question::May(address) => {
                told.push((*number, Peer::Told(address)));
                true
            }
            Question::Gone | Question::Malformed | Question::HungUp => false,
        });
        told
    }

    /// Answers one of them, which may not ask again.
    pub(crate) fn answer_told(&mut self, number: usize, answer: Answer) {
        let end = self.asking.iter().position(|(its, _)| *its == number);
        if let Some(at) = end {
            self.asking.swap_remove(at).1.answer(answer);
        }
    }

    /// Answers none of them any more.
    pub(crate) fn answer_none(&mut self) {
        self.asking.clear();
    }

    /// Returns the descriptors on which questions come.
    pub(crate) fn asking_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.asking.iter().map(|(_, end)| end.as_fd())
    }

    /// Counts the client that a proxy has told the process or thread of a slot, or returns the limit that
    /// it would exceed. Logs the start of a process's session. Does nothing if it has ended.
    pub(crate) fn admit_told(
        &mut self,
        number: usize,
        peer: Peer,
    ) -> std::result::Result<(), Refusal> {
        if !self.asking.iter().any(|(its, _)| *its == number) {
            return Ok(());
        }
        self.limits.admit(peer)?;
        if let Some(child) = self.table.get(number).flatten() {
            self.table.set(number, Some(Child { slot: child.slot.with_peer(peer), ..child }));
            let pid = self.pids.get(number).unwrap_or_default();
            client_log::start(peer, Process { pid, thread: None });
        }
        Ok(())
    }

    /// Counts the client that a proxy has told this process itself.
    pub(crate) fn admit_own(&mut self, peer: Peer) -> std::result::Result<(), Refusal> {
        self.limits.admit(peer)
    }

    /// Stops counting a client that a proxy has told.
    pub(crate) fn release_told(&mut self, peer: Peer) {
        self.limits.release(peer);
    }

    /// Acquires a slot for a prefork worker.
    pub(crate) fn admit_worker(&mut self) -> Option<Slot> {
        self.board.take(None)
    }

    /// Counts the client that a prefork worker asks about, in place of the last one; or returns the
    /// limit that it would exceed.
    pub(crate) fn admit_to_worker(
        &mut self,
        slot: Slot,
        peer: Peer,
    ) -> std::result::Result<(), Refusal> {
        self.release_from_worker(slot);
        self.limits.admit(peer)?;
        self.set_admitted(slot, Some(peer));
        Ok(())
    }

    /// Stops counting the client of a prefork worker.
    pub(crate) fn release_from_worker(&mut self, slot: Slot) {
        if let Some(peer) = self.set_admitted(slot, None) {
            self.limits.release(peer);
        }
    }

    /// Sets the client of a worker; returns the last one.
    fn set_admitted(&mut self, slot: Slot, admitted: Option<Peer>) -> Option<Peer> {
        let child = self.table.get(slot.number()).flatten()?;
        self.table.set(slot.number(), Some(Child { admitted, ..child }));
        child.admitted
    }

    /// Frees the slot, and stops counting its client.
    pub(crate) fn release(&mut self, slot: Slot) {
        if let Some(peer) = slot.peer() {
            self.limits.release(peer);
        }
        if !self.asking.is_empty() {
            self.asking.retain(|(number, _)| *number != slot.number());
        }
        self.board.release(slot);
    }

    /// Unmaps the lines of all slots, in a child without a slot.
    pub(crate) fn unmap_lines(&self, alone: OneTask) -> nix::Result<()> {
        self.board.unmap_lines(alone)
    }

    /// Adds a child that was forked for this slot, and logs its start.
    pub(crate) fn add(&mut self, pid: Pid, slot: Slot) {
        if let Some(peer) = slot.peer() {
            client_log::start(peer, Process { pid: pid.as_raw(), thread: None });
        }
        self.add_silently(pid, slot);
    }

    /// Adds a child that was forked for this slot.
    pub(crate) fn add_silently(&mut self, pid: Pid, slot: Slot) {
        while self.table.len() <= slot.number() && self.table.push(None).is_some() {
            self.pids.push(0);
        }
        self.pids.set(slot.number(), pid.as_raw());
        self.table.set(slot.number(), Some(Child { slot, since: Instant::now(), admitted: None }));
        self.count += 1;
    }

    /// Returns true when no more clients can be served.
    pub(crate) fn is_full(&mut self) -> bool {
        self.board.is_full() && !self.release_zombies()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the children that the reaper has found, and frees their slots. Passes children
    /// without a slot to `unrelated`.
    pub(crate) fn collect(&mut self, mut unrelated: impl FnMut(Ended)) -> Vec<EndedChild> {
        let mut collected = Vec::new();
        loop {
            let ended = self.reaper.collect();
            for one in &ended {
                match self.remove(one.pid) {
                    Some(Child { slot, since, .. }) => {
                        let one = EndedChild { ended: *one, slot, age: since.elapsed() };
                        self.release(slot);
                        collected.push(one);
                    }
                    None => unrelated(*one),
                }
            }
            if !wait::may_be_more(&ended) || self.reaper != Reaper::Waitpid {
                return collected;
            }
            wait::reaper();
        }
    }

    /// Removes a process.
    fn remove(&mut self, pid: i32) -> Option<Child> {
        let number = self.pids.iter().position(|its| its == pid).filter(|_| pid > 0)?;
        let child = self.table.get(number).flatten()?;
        self.release_from_worker(child.slot);
        self.pids.set(number, 0);
        self.table.set(number, None);
        self.count -= 1;
        Some(child)
    }

    /// Ends the child of a slot with SIGKILL, reaps it and frees the slot; returns its process id.
    /// SIGCHLD is blocked here, so that the reaper does not reap the child first.
    pub(crate) fn end(&mut self, slot: Slot) -> Option<i32> {
        let pid = self.pids.get(slot.number()).filter(|pid| *pid > 0)?;
        let process = Pid::from_raw(pid);
        let ended = kill_child(process, Signal::SIGKILL).and_then(|()| wait::wait_for(process));
        if let Err(errno) = ended {
            warn!("end of {pid}: {}", strerror(errno));
        }
        if let Some(child) = self.remove(pid) {
            self.release(child.slot);
        }
        Some(pid)
    }

    /// Replaces the slides' faulty reapers by the right one, for a server that stops.
    pub(crate) fn reap_all(&mut self) {
        self.reaper = Reaper::Waitpid;
        wait::reaper();
    }

    /// Returns how often to check for ended children where no signal reports them.
    pub(crate) fn poll_interval(&self) -> Option<Duration> {
        (self.reaper == Reaper::None).then_some(POLL_INTERVAL)
    }

    /// Frees the slots of zombies, which a faulty reaper leaves in the process table, so that they
    /// do not use up the limits of clients. Returns true if there was one.
    fn release_zombies(&mut self) -> bool {
        if self.reaper == Reaper::Waitpid {
            return false;
        }
        let ended = |pid: &i32| *pid > 0 && !wait::is_alive(Pid::from_raw(*pid));
        let ended: Vec<i32> = self.pids.iter().filter(ended).collect();
        for pid in &ended {
            if let Some(child) = self.remove(*pid) {
                self.release(child.slot);
            }
        }
        !ended.is_empty()
    }

    /// Sends a signal to every child.
    pub(crate) fn signal(&self, signal: Signal) {
        self.pids.iter().filter(|pid| *pid > 0).for_each(|pid| send(pid, signal));
    }

    /// Sends a signal to the child of a slot.
    pub(crate) fn signal_one(&self, slot: Slot, signal: Signal) {
        if let Some(pid) = self.pids.get(slot.number()).filter(|pid| *pid > 0) {
            send(pid, signal);
        }
    }

    /// Iterates over the processes with their slots and ages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, Slot, Duration)> + '_ {
        let children = self.pids.iter().zip(self.table.iter());
        children.filter_map(|(pid, child)| child.map(|c| (pid, c.slot, c.since.elapsed())))
    }
}

/// Sends a signal to a child; one that has ended is no error.
fn send(pid: i32, signal: Signal) {
    match kill_child(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ECHILD | nix::errno::Errno::ESRCH) => {}
        Err(errno) => warn!("kill {pid} with {signal}: {}", strerror(errno)),
    }
}

impl EndedChild {
    /// Logs the end of a process; as no warning if it `is_expected`, whatever its status.
    pub(crate) fn log(&self, is_expected: bool) {
        let process = Process { pid: self.ended.pid, thread: None };
        let (code, account) =
            (self.ended.code(), Account { bytes: self.slot.counters().bytes(), time: self.age });
        match self.slot.peer() {
            Some(peer) => {
                client_log::end(peer, process, self.ended, (code, is_expected), account);
            }
            None => {
                let is_ok = is_expected || code == Some(EXIT_OK);
                contract::worker_end(process, self.ended, is_ok);
            }
        }
    }
}

/// Logs a client (SIGUSR1).
pub(crate) fn log_client(peer: Peer, pid: i32, slot: Slot, age: Option<Duration>) {
    let (received, sent) = slot.counters().bytes();
    match age.map(|age| age.as_secs()) {
        Some(age) => info!("client {peer} pid {pid}: {received} in, {sent} out, for {age} s"),
        None => info!("client {peer} pid {pid}: {received} in, {sent} out"),
    }
}
