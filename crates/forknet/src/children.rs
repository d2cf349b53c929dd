//! The table of clients: who is served, by which process, since when.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::accept::Peer;
use crate::error::{Result, strerror};
use crate::fork::EXIT_OK;
use crate::reaper::{self, Ended, Reaper};
use crate::recvfrom::Datagram;
use crate::scoreboard::{Progress, Scoreboard};

/// How many ended transfers are remembered while requests wait to be read.
const MAX_ENDED: usize = 64;

/// One child process and its client.
#[derive(Debug)]
struct Child {
    peer: Peer,
    since: Instant,
    progress: Progress,
    /// Tells a datagram's request from another of the same peer; 0 for streams.
    request: u64,
    /// The same request, come again while it was answered.
    again: Option<Held>,
}

/// A datagram that waits for the end of a child, and the number of the listener it came to.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) listener: usize,
    pub(crate) datagram: Datagram,
}

/// All children that have not been reaped.
#[derive(Debug)]
pub(crate) struct Children {
    table: HashMap<Pid, Child>,
    /// Held requests that have turned out to be new ones.
    renewed: Vec<Held>,
    /// Requests whose children have ended, and when they were complete: they may have come again
    /// before that, and not been read yet.
    answered: VecDeque<(Peer, u64, SystemTime)>,
    board: Scoreboard,
    limit: usize,
    reaper: Reaper,
}

impl Children {
    pub(crate) fn new(limit: usize, reaper: Reaper) -> Result<Children> {
        let (table, renewed, answered) = (HashMap::new(), Vec::new(), VecDeque::new());
        Ok(Children { table, renewed, answered, board: Scoreboard::new(limit)?, limit, reaper })
    }

    /// A line on the scoreboard for one more client, or `None` when the limit is reached. A child
    /// whose work is complete and that only lingers gives way then.
    pub(crate) fn admit(&mut self) -> Option<Progress> {
        if self.table.len() >= self.limit && self.reaper != Reaper::Waitpid {
            self.forget_zombies();
        }
        self.board.take().or_else(|| {
            self.end_one_lingering();
            self.board.take()
        })
    }

    /// Ends the child that lingers longest after its work is complete, and reaps it at once.
    /// SIGCHLD is blocked here: when it is let in, the reaper finds this child gone already.
    fn end_one_lingering(&mut self) {
        let lingering = self.table.iter().filter(|(_, child)| child.progress.is_lingering());
        let Some(pid) = lingering.min_by_key(|(_, child)| child.since).map(|(pid, _)| *pid) else {
            return;
        };
        if let Err(errno) = kill(pid, Signal::SIGKILL).and_then(|()| waitpid(pid, None)) {
            warn!("end of lingering {pid}: {}", strerror(errno));
        }
        if let Some(child) = self.table.remove(&pid) {
            info!("client {} end: pid {pid}, complete, gave way to another", child.peer);
            self.board.give_back(child.progress);
        }
    }

    /// SIGTERM to the children whose work is complete and that only linger.
    pub(crate) fn end_lingering(&self) {
        for (pid, _) in self.table.iter().filter(|(_, child)| child.progress.is_lingering()) {
            let _ended_just_now = kill(*pid, Signal::SIGTERM);
        }
    }

    /// The line of a client that was not served after all.
    pub(crate) fn dismiss(&mut self, progress: Progress) {
        self.board.give_back(progress);
    }

    /// A child was forked.
    pub(crate) fn add(&mut self, pid: Pid, peer: Peer, progress: Progress, request: u64) {
        info!("client {peer} start: pid {pid}");
        self.table
            .insert(pid, Child { peer, since: Instant::now(), progress, request, again: None });
    }

    /// Gives a request back unless it is being answered already.
    ///
    /// Usually it was only sent again, and the child sends its answer again too. But it may be a
    /// new one by a quick client whose last ACK waits in the child's socket, where the child has
    /// yet to see it. So it is held until the child has ended and told when its work was complete.
    pub(crate) fn sort_out(&mut self, held: Held, request: u64) -> Option<Held> {
        let peer = Peer::Ip(held.datagram.peer);
        let came = held.datagram.arrived;
        if self.answered.iter().any(|&(p, r, done)| (p, r) == (peer, request) && came < done) {
            return None;
        }
        let answers_it = |child: &&mut Child| {
            (child.peer, child.request) == (peer, request)
                && child.progress.done_at().is_none_or(|done| came < done)
        };
        let Some(child) = self.table.values_mut().find(answers_it) else { return Some(held) };
        child.again = Some(held);
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
        self.table.is_empty()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Logs what the reaper has found and frees the clients' places.
    pub(crate) fn collect(&mut self) {
        reaper::collect(self.reaper, |ended| {
            let Some(mut child) = self.table.remove(&Pid::from_raw(ended.pid)) else { return };
            log_end(ended, &child);
            if let Some(done) = child.progress.done_at() {
                let again = child.again.take().filter(|held| held.datagram.arrived >= done);
                self.renewed.extend(again);
                self.answered.truncate(MAX_ENDED - 1);
                self.answered.push_front((child.peer, child.request, done));
            }
            self.board.give_back(child.progress);
        });
    }

    /// While draining the slides' faulty reapers have shown what they had to show.
    pub(crate) fn reap_properly(&mut self) {
        self.reaper = Reaper::Waitpid;
        self.collect();
        reaper::reaper();
        self.collect();
    }

    /// Under a faulty reaper the ended children stay in the process table, as they should, but
    /// must not use up the limit of clients.
    fn forget_zombies(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let board = &mut self.board;
        self.table.retain(|pid, child| {
            let alive = waitid(Id::Pid(*pid), flags) == Ok(WaitStatus::StillAlive);
            if !alive {
                board.give_back(child.progress);
            }
            alive
        });
    }

    /// Sends a signal to every child.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.table.keys() {
            if let Err(errno) = kill(*pid, signal) {
                warn!("kill {pid} with {signal}: {}", strerror(errno));
            }
        }
    }

    /// SIGUSR1: the table of clients into the log.
    pub(crate) fn log_table(&self) {
        info!("{} of {} clients", self.table.len(), self.limit);
        for (pid, child) in &self.table {
            let (received, sent) = child.progress.octets();
            let age = child.since.elapsed().as_secs();
            info!("client {} pid {pid}: {received} in, {sent} out, for {age} s", child.peer);
        }
    }
}

fn log_end(ended: Ended, child: &Child) {
    let (pid, peer, since) = (ended.pid, child.peer, child.since.elapsed());
    let (how, well) = describe(ended);
    let did = account(child.progress, since);
    if well || child.progress.is_lingering() {
        info!("client {peer} end: pid {pid}, {how}, {did}");
    } else {
        warn!("client {peer} end: pid {pid}, {how}, {did}");
    }
}

/// `64 bytes in, 64 bytes out, 0.003 s`
pub(crate) fn account(progress: Progress, since: Duration) -> String {
    let (received, sent) = progress.octets();
    format!("{received} bytes in, {sent} bytes out, {:.3} s", since.as_secs_f64())
}

/// `exit 0`, or `signal 11 (SIGSEGV)`; and whether that is how a session should end.
fn describe(ended: Ended) -> (String, bool) {
    match WaitStatus::from_raw(Pid::from_raw(ended.pid), ended.status) {
        Ok(WaitStatus::Exited(_, code)) => (format!("exit {code}"), code == EXIT_OK),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            (format!("signal {} ({signal})", signal as i32), false)
        }
        _ => (format!("status {:#x}", ended.status), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_exit_code_or_signal() {
        assert_eq!(describe(Ended { pid: 2, status: 0 }), ("exit 0".into(), true));
        assert_eq!(describe(Ended { pid: 2, status: 0x100 }), ("exit 1".into(), false));
        assert_eq!(describe(Ended { pid: 2, status: 11 }), ("signal 11 (SIGSEGV)".into(), false));
        assert_eq!(describe(Ended { pid: 2, status: 40 }).0, "status 0x28");
    }
}
