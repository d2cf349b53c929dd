//! Repeated requests, and processes that dally after their transfer.
//!
//! A client without an answer repeats its request, and the network may duplicate it. Such a request
//! must not begin a second transfer, so the process that handles the first one is notified, and
//! retransmits. But an identical request may also be a new one, from a quick client whose last ACK
//! is still unread in the socket of the first transfer's process. So the request is held until that
//! process has ended and reported when its transfer was done. A request that arrived later is a new
//! one.
//!
//! What the processes report is untrusted: see [`super::shared_status`].

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use forknet::{Datagram, Error, GivesWay, Peer, Refusal, Request, Slot, UdpProtocol};
use sys::private_memory::Table;

use super::landlock::Confinement;
use super::per_process;
use super::request::is_request;
use super::shared_status::SharedStatus;
use crate::options::Config;
use crate::transfer::port_range::fresh_socket;
use crate::wire::request::WRQ;

/// Most ended transfers remembered until all requests queued in the socket were read.
const MAX_ANSWERED: usize = 64;

/// The parent's part of TFTP with a process for each transfer.
#[derive(Debug)]
pub struct Tftp<'c> {
    config: &'c Config,
    confinement: Confinement,
    /// Age from which a transfer gives way without an answer of its client.
    patience: Duration,
    /// The transfer of each slot, in private memory of the parent.
    running: Table<Option<Running>>,
    /// Repeated requests, by the slot number of the process that handles the first.
    held: HashMap<usize, Datagram>,
    /// Held requests that turned out to be new ones.
    new: VecDeque<Datagram>,
    /// Requests whose processes have ended. Repetitions that arrived earlier may still be unread.
    answered: VecDeque<Answered>,
}

/// A request that a process handles.
#[derive(Clone, Copy, Debug)]
struct Running {
    slot: Slot,
    key: RequestKey,
    started_at: Instant,
    /// A WRQ: only its process dallies.
    is_upload: bool,
    /// The process has reported that it only dallies.
    dallies: bool,
    /// The process has reported that its client has answered.
    is_answered: bool,
}

/// A request whose process has ended.
#[derive(Clone, Copy, Debug)]
struct Answered {
    key: RequestKey,
    done_at: SystemTime,
}

/// The identity of a request: its peer, its bytes and the local address. The local address counts
/// because the answer must come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RequestKey {
    peer: SocketAddr,
    hash: u64,
}

impl RequestKey {
    fn new(request: &Datagram) -> RequestKey {
        let mut hasher = DefaultHasher::new();
        (&request.data, request.local).hash(&mut hasher);
        RequestKey { peer: request.peer, hash: hasher.finish() }
    }
}

impl Running {
    fn status(&self) -> SharedStatus {
        SharedStatus::new(self.slot.counters())
    }

    /// Returns whether this process handles a request with this key that arrived at `arrived_at`.
    fn handles(&self, key: RequestKey, arrived_at: SystemTime) -> bool {
        self.key == key && self.status().done_at().is_none_or(|done_at| arrived_at < done_at)
    }
}

impl<'c> Tftp<'c> {
    /// Creates the table for `max_clients`. Each process enters `confinement`.
    ///
    /// # Errors
    /// mmap(2) fails.
    pub fn new(
        config: &'c Config,
        confinement: Confinement,
        max_clients: usize,
        patience: Duration,
    ) -> forknet::Result<Tftp<'c>> {
        let running = Table::with_room(max_clients).map_err(Error::os("mmap of private memory"))?;
        let (held, new, answered) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Ok(Tftp { config, confinement, patience, running, held, new, answered })
    }

    /// Returns the transfers whose processes only dally. A process can't take that report back,
    /// because it could then block a slot that others wait for.
    fn dallying(&mut self) -> impl Iterator<Item = Running> + '_ {
        for number in 0..self.running.len() {
            let running = self.running.get(number).flatten();
            let may_dally = |one: &Running| one.is_upload && !one.dallies;
            if let Some(running) = running.filter(|one| may_dally(one) && one.status().dallies()) {
                self.running.set(number, Some(Running { dallies: true, ..running }));
            }
        }
        self.running.iter().flatten().filter(|running| running.dallies)
    }

    /// Returns the oldest of these transfers whose clients should have answered, and have not. A process can't take
    /// that report back, so that its page is not read again: there are as many pages as clients.
    fn oldest_unanswered(&mut self, is_one: impl Fn(&Running) -> bool) -> Option<Running> {
        let now = Instant::now();
        loop {
            let is_late = |one: &Running| now.duration_since(one.started_at) >= self.patience;
            let all = self.running.iter().flatten();
            let late = all.filter(|one| !one.is_answered && is_late(one) && is_one(one));
            let oldest = late.min_by_key(|one| one.started_at)?;
            if !oldest.status().is_answered() {
                return Some(oldest);
            }
            let number = oldest.slot.number();
            self.running.set(number, Some(Running { is_answered: true, ..oldest }));
        }
    }

    /// Removes the transfer of a slot whose process has ended or is being ended.
    fn remove(&mut self, slot: Slot) -> Option<Running> {
        let running = self.running.get(slot.number()).flatten()?;
        self.running.set(slot.number(), None);
        let held = self.held.remove(&slot.number());
        if let Some(done_at) = running.status().done_at() {
            self.new.extend(held.filter(|held| held.arrived >= done_at));
            self.answered.truncate(MAX_ANSWERED - 1);
            self.answered.push_front(Answered { key: running.key, done_at });
        }
        Some(running)
    }
}

impl UdpProtocol for Tftp<'_> {
    fn is_request(&self, datagram: &[u8]) -> bool {
        is_request(datagram)
    }

    fn arrived(&mut self, request: Datagram) -> Option<Datagram> {
        let (key, arrived_at) = (RequestKey::new(&request), request.arrived);
        if self.answered.iter().any(|one| one.key == key && arrived_at < one.done_at) {
            return None;
        }
        let found = self.running.iter().flatten().find(|running| running.handles(key, arrived_at));
        let Some(running) = found else { return Some(request) };
        running.status().set_repeated(arrived_at);
        self.held.insert(running.slot.number(), request);
        None
    }

    fn due(&mut self) -> Option<Datagram> {
        while let Some(request) = self.new.pop_front() {
            // The same request may have arrived again and be answered already.
            if let Some(request) = self.arrived(request) {
                return Some(request);
            }
        }
        None
    }

    fn all_read(&mut self) {
        self.answered.clear();
    }

    fn begins(&mut self, slot: Slot, request: &Datagram) {
        let key = RequestKey::new(request);
        let is_upload = request.data.starts_with(&WRQ.to_be_bytes());
        let started_at = Instant::now();
        let (dallies, is_answered) = (false, false);
        let running = Running { slot, key, started_at, is_upload, dallies, is_answered };
        while self.running.len() <= slot.number() && self.running.push(None).is_some() {}
        self.running.set(slot.number(), Some(running));
    }

    fn has_ended(&mut self, slot: Slot) -> bool {
        self.remove(slot).is_some_and(|running| running.dallies || running.status().dallies())
    }

    fn is_proven(&self, slot: Slot) -> bool {
        SharedStatus::new(slot.counters()).is_answered()
    }

    fn has_room(&mut self, local: SocketAddr) -> Result<(), Refusal> {
        match self.config.port_range {
            Some(ports) if ports.is_used_up(local) => Err(Refusal::NoPort),
            _ => Ok(()),
        }
    }

    /// The process that has dallied longest gives way; without one, that whose client has not answered for the longest
    /// time, as the half-open connections of TCP do: a client that is there answers in a moment.
    fn gives_way(&mut self, peer: Peer, refusal: Refusal) -> Option<GivesWay> {
        let makes_room = |running: &Running| match refusal {
            Refusal::Full(_) | Refusal::NoPort => true,
            Refusal::PerAddress(_) => Some(running.key.peer.ip()) == peer.ip(),
            Refusal::TooOften(_) => false,
        };
        let oldest = |running: &Running| running.started_at;
        let dallying = self.dallying().filter(makes_room).min_by_key(oldest);
        let (running, how) = match dallying {
            Some(running) => (running, "complete"),
            None => (self.oldest_unanswered(makes_room)?, "not answered"),
        };
        self.remove(running.slot).map(|running| GivesWay { slot: running.slot, how })
    }

    fn can_make_room(&mut self) -> bool {
        self.dallying().next().is_some() || self.oldest_unanswered(|_| true).is_some()
    }

    fn idle(&mut self) -> Vec<Slot> {
        self.dallying().map(|running| running.slot).collect()
    }

    fn socket(&self, local: SocketAddr) -> io::Result<UdpSocket> {
        Ok(fresh_socket(local, self.config.port_range)?)
    }

    fn answer(&self, request: &mut Request) -> io::Result<()> {
        self.confinement.enter();
        per_process::answer(request, self.config);
        Ok(()) // the result is logged already
    }
}

#[cfg(test)]
mod tests;
