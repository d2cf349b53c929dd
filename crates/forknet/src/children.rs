//! The table of clients: who is served, by which process, since when.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, SystemTime};

use log::{debug, info, warn};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::accept::Peer;
use crate::error::{Result, strerror};
use crate::fork::EXIT_OK;
use crate::ledger;
use crate::limits::{Limits, Refusal};
use crate::options::ServerOptions;
use crate::reaper::{self, Ended, Reaper};
use crate::recvfrom::Datagram;
use crate::scoreboard::{Progress, Scoreboard};
use crate::shared;

/// How many ended transfers are remembered while requests wait to be read.
const MAX_ENDED: usize = 64;

/// How often children are looked at that end without a signal.
const LOOK: Duration = Duration::from_millis(100);
/// A worker that fails sooner than this after its start has failed at it.
const TOO_YOUNG: Duration = Duration::from_millis(200);

/// A datagram that waits for the end of a child, and the number of the listener it came to.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) listener: usize,
    pub(crate) datagram: Datagram,
}

/// All children that have not been reaped; the scoreboard has a line for each.
#[derive(Debug)]
pub(crate) struct Children {
    count: usize,
    /// Requests that came again while a child, by its process id, answered the first.
    held: HashMap<i32, Held>,
    /// Held requests that have turned out to be new ones.
    renewed: Vec<Held>,
    /// Requests whose children have ended, and when they were complete: they may have come again
    /// before that, and not been read yet.
    answered: VecDeque<(Peer, u64, SystemTime)>,
    /// Ended children that serve no client.
    strangers: Vec<Ended>,
    board: Scoreboard,
    limits: Limits,
    limit: usize,
    failed_worker: bool,
    reaper: Reaper,
}

impl Children {
    pub(crate) fn new(options: &ServerOptions, reaper: Reaper) -> Result<Children> {
        let clients = options.max_clients;
        shared::reserve(Scoreboard::room(clients) + Limits::room(clients) + shared::SPARE)?;
        ledger::share()?; // before a handler notes anything there
        Ok(Children {
            count: 0,
            held: HashMap::new(),
            renewed: Vec::new(),
            answered: VecDeque::new(),
            strangers: Vec::new(),
            board: Scoreboard::new(options.max_clients)?,
            limits: Limits::new(options)?,
            limit: options.max_clients,
            failed_worker: false,
            reaper,
        })
    }

    /// A line on the scoreboard for one more client, or why there is none. A child whose work is
    /// complete and that only lingers gives way then.
    pub(crate) fn admit(&mut self, peer: Peer) -> std::result::Result<Progress, Refusal> {
        // First of all, for what follows counts under --rate, and may be tried several times.
        if self.has_no_place() {
            return Err(Refusal::Full(self.limit));
        }
        if let Err(refusal) = self.limits.admit(peer) {
            let is_its = |child: Progress| child.client().and_then(|p| p.ip()) == peer.ip();
            let makes_room = matches!(refusal, Refusal::PerAddress(_))
                && (self.end_lingering(is_its) || self.forget_zombies());
            if !makes_room {
                return Err(refusal);
            }
            self.limits.admit(peer)?;
        }
        if self.is_full() && !self.end_lingering(|_| true) {
            self.limits.leave(peer);
            return Err(Refusal::Full(self.limit));
        }
        self.board.take().ok_or(Refusal::Full(self.limit))
    }

    /// True when nobody more can be served, unless a lingering child gives way.
    pub(crate) fn is_full(&mut self) -> bool {
        self.board.is_full() && !self.forget_zombies()
    }

    /// True when the next client has to wait for one that is served now.
    pub(crate) fn has_no_place(&mut self) -> bool {
        self.is_full() && !self.board.processes().any(|(_, child)| child.is_lingering())
    }

    /// A line on the scoreboard for a prefork worker.
    pub(crate) fn worker(&mut self) -> Option<Progress> {
        self.board.take()
    }

    /// A worker begins with a client.
    pub(crate) fn worker_serves(&self, progress: Progress, peer: Peer) {
        self.board.serves(progress, peer);
    }

    /// That worker could not be forked.
    pub(crate) fn no_worker(&mut self, progress: Progress) {
        self.board.give_back(progress);
    }

    /// True once after a prefork worker has died at its start.
    pub(crate) fn a_worker_failed(&mut self) -> bool {
        std::mem::take(&mut self.failed_worker)
    }

    /// The limits that prefork workers keep by themselves.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Ends the child that lingers longest after its work is complete, among those that are meant,
    /// and reaps it at once. SIGCHLD is blocked here: when it is let in, the reaper finds this child
    /// gone already.
    pub(crate) fn end_lingering(&mut self, is_meant: impl Fn(Progress) -> bool) -> bool {
        let board = &self.board;
        let lingering = board.processes().filter(|(_, c)| c.is_lingering() && is_meant(*c));
        let Some((pid, child)) = lingering.max_by_key(|(_, child)| board.age(*child)) else {
            return false;
        };
        let process = Pid::from_raw(pid);
        if let Err(errno) = kill(process, Signal::SIGKILL).and_then(|()| waitpid(process, None)) {
            warn!("end of lingering {pid}: {}", strerror(errno));
        }
        if let Some(peer) = child.client() {
            info!("client {peer} end: pid {pid}, complete, gave way to another");
        }
        self.held.remove(&pid);
        self.leaves(child);
        true
    }

    /// SIGTERM to the children whose work is complete and that only linger.
    pub(crate) fn dismiss_lingering(&self) {
        for (pid, _) in self.board.processes().filter(|(_, child)| child.is_lingering()) {
            let _ended_just_now = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// The place of a client that was not served after all.
    pub(crate) fn dismiss(&mut self, peer: Peer, progress: Progress) {
        self.limits.leave(peer);
        self.board.give_back(progress);
    }

    /// The place of a child that has ended, and of the client it had.
    fn leaves(&mut self, child: Progress) {
        if let Some(peer) = child.client() {
            self.limits.leave(peer);
        }
        self.board.give_back(child);
        self.count -= 1;
    }

    /// A child was forked.
    pub(crate) fn add(&mut self, pid: Pid, peer: Peer, progress: Progress, request: u64) {
        info!("client {peer} start: pid {pid}");
        self.board.forked(progress, pid.as_raw(), Some(peer), request);
        self.count += 1;
    }

    /// A prefork worker was forked.
    pub(crate) fn add_worker(&mut self, pid: Pid, progress: Progress) {
        self.board.forked(progress, pid.as_raw(), None, 0);
        self.count += 1;
    }

    /// Gives a request back unless it is being answered already.
    ///
    /// Usually it was only sent again; the child is told, and sends its answer again too. But it may be a
    /// new one by a quick client whose last ACK waits in the child's socket, where the child has
    /// yet to see it. So it is held until the child has ended and told when its work was complete.
    pub(crate) fn sort_out(&mut self, held: Held, request: u64) -> Option<Held> {
        let peer = Peer::Ip(held.datagram.peer);
        let came = held.datagram.arrived;
        if self.answered.iter().any(|&(p, r, done)| (p, r) == (peer, request) && came < done) {
            return None;
        }
        let answers_it = |child: Progress| {
            (child.client(), child.request()) == (Some(peer), request)
                && child.done_at().is_none_or(|done| came < done)
        };
        let Some((pid, child)) = self.board.processes().find(|(_, child)| answers_it(*child))
        else {
            return Some(held);
        };
        child.ask_again(came);
        self.held.insert(pid, held);
        None
    }

    /// No request waits to be read: those to come are all newer than what has ended.
    pub(crate) fn all_read(&mut self) {
        self.answered.clear();
    }

    /// The held requests that came when the one before was complete: they are new ones.
    pub(crate) fn renewed(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.renewed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Logs what the reaper has found and frees the clients' places; true if somebody had ended.
    pub(crate) fn collect(&mut self) -> bool {
        let mut found = false;
        reaper::collect(self.reaper, |ended| {
            found = true;
            self.has_ended(ended);
        });
        found
    }

    fn has_ended(&mut self, ended: Ended) {
        let Some(child) = self.board.of(ended.pid) else {
            return self.strangers.push(ended);
        };
        let age = self.board.age(child);
        log_end(ended, child, age);
        self.failed_worker |= child.client().is_none() && ended.status != 0 && age < TOO_YOUNG;
        let again = if self.held.is_empty() { None } else { self.held.remove(&ended.pid) };
        if let (Some(peer), Some(done)) = (child.client(), child.done_at()) {
            self.renewed.extend(again.filter(|held| held.datagram.arrived >= done));
            self.answered.truncate(MAX_ENDED - 1);
            self.answered.push_front((peer, child.request(), done));
        }
        self.leaves(child);
    }

    /// The children that have ended and serve no client.
    pub(crate) fn strangers(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.strangers)
    }

    /// While draining the slides' faulty reapers have shown what they had to show.
    pub(crate) fn reap_properly(&mut self) {
        self.reaper = Reaper::Waitpid;
        self.collect();
        reaper::reaper();
        self.collect();
    }

    /// Without a reaper nothing tells when a child has ended: how often to look, where that matters.
    pub(crate) fn end_unheard(&self) -> Option<Duration> {
        (self.reaper == Reaper::None).then_some(LOOK)
    }

    /// Under a faulty reaper the ended children stay in the process table, as they should, but
    /// must not use up the limits of clients; true if there was one.
    fn forget_zombies(&mut self) -> bool {
        if self.reaper == Reaper::Waitpid {
            return false;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let alive = |pid| waitid(Id::Pid(Pid::from_raw(pid)), flags) == Ok(WaitStatus::StillAlive);
        let ended: Vec<_> = self.board.processes().filter(|(pid, _)| !alive(*pid)).collect();
        for (_, child) in &ended {
            self.leaves(*child);
        }
        !ended.is_empty()
    }

    /// Sends a signal to every child.
    pub(crate) fn signal(&self, signal: Signal) {
        for (pid, _) in self.board.processes() {
            if let Err(errno) = kill(Pid::from_raw(pid), signal) {
                warn!("kill {pid} with {signal}: {}", strerror(errno));
            }
        }
    }

    /// How many prefork workers have a client, in a pool of this size.
    pub(crate) fn busy_workers(&self, pool: usize) -> usize {
        self.board.busy(pool)
    }

    /// How many of the children have a client: all but idle prefork workers.
    pub(crate) fn clients(&self) -> usize {
        self.board.processes().filter(|(_, child)| child.client().is_some()).count()
    }

    /// SIGUSR1: the children into the log.
    pub(crate) fn log(&self) {
        for (pid, child) in self.board.processes() {
            let (received, sent) = child.octets();
            let did = format!("pid {pid}: {received} in, {sent} out");
            match child.client() {
                Some(peer) if child.is_workers() => info!("client {peer} {did}"),
                Some(peer) => {
                    info!("client {peer} {did}, for {} s", self.board.age(child).as_secs());
                }
                None => info!("worker idle, pid {pid}"),
            }
        }
    }
}

fn log_end(ended: Ended, child: Progress, age: Duration) {
    let pid = ended.pid;
    let Some(peer) = child.client() else { return log_worker_end(ended) };
    let did = account(child, age);
    if ended.well() || child.is_lingering() {
        info!("client {peer} end: pid {pid}, {ended}, {did}");
    } else {
        warn!("client {peer} end: pid {pid}, {ended}, {did}");
    }
}

fn log_worker_end(ended: Ended) {
    let pid = ended.pid;
    if ended.well() {
        debug!("worker end: pid {pid}, {ended}");
    } else {
        warn!("worker end: pid {pid}, {ended}");
    }
}

/// `64 bytes in, 64 bytes out, 0.003 s`
pub(crate) fn account(progress: Progress, since: Duration) -> Account {
    Account { octets: progress.octets(), time: since }
}

/// What a session came to. Formatted only into the log's line: memory allocated for each client is
/// one page more to copy after each fork.
pub(crate) struct Account {
    octets: (u64, u64),
    time: Duration,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received, sent) = self.octets;
        // Not as a float: core's way to print one takes a page of the stack, to be copied after a fork.
        let millis = (self.time + Duration::from_micros(500)).as_millis();
        let (seconds, millis) = (millis / 1000, millis % 1000);
        write!(f, "{received} bytes in, {sent} bytes out, {seconds}.{millis:03} s")
    }
}

impl Ended {
    /// As a session should end.
    pub(crate) fn well(self) -> bool {
        libc::WIFEXITED(self.status) && libc::WEXITSTATUS(self.status) == EXIT_OK
    }
}

/// `exit 0`, or `signal 11 (SIGSEGV)`.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WaitStatus::from_raw(Pid::from_raw(self.pid), self.status) {
            Ok(WaitStatus::Exited(_, code)) => write!(f, "exit {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                write!(f, "signal {} ({signal})", signal as i32)
            }
            _ => write!(f, "status {:#x}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_exit_code_or_signal() {
        let told = |status| (Ended { pid: 2, status }.to_string(), Ended { pid: 2, status }.well());
        assert_eq!(told(0), ("exit 0".into(), true));
        assert_eq!(told(0x100), ("exit 1".into(), false));
        assert_eq!(told(11), ("signal 11 (SIGSEGV)".into(), false));
        assert_eq!(told(40), ("status 0x28".into(), false));
    }
}
