//! The processes of the owners of places: each has its owner's rights, tries places, and waits for the letter.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use accounts::Owner;
use forknet::{Boxes, in_title, reason};

use crate::delivery::boxed::{self, Kind};
use crate::delivery::order::{Attempt, KEEP, Place, Tried, UNDO};
use crate::delivery::store::MAX_PLACES;
use crate::options::Config;
use crate::protocol::question::Verdict;
use crate::protocol::stored::Where;

/// Longest wait for the places of one recipient. A client waits five minutes (RFC 5321 §4.5.3.2.3).
pub const TRY_WAIT: Duration = Duration::from_secs(45);
/// Longest wait until a process has taken back what it has.
const UNDO_WAIT: Duration = Duration::from_secs(30);
/// Most processes that wait for a letter with what they have opened; others begin again when it comes.
const MAX_WAITING: usize = 16;
/// Most processes that are kept from one letter to the next, and in a worker from one client to the next: those that
/// were of use last.
const MAX_KEPT: usize = 8;

/// The processes, and what they have accepted.
pub(super) struct Workers<'a> {
    pub(super) config: &'a Config,
    pub(super) boxes: Boxes,
    /// The client, for the log.
    pub(super) about: String,
    all: Vec<Worker>,
}

/// A process of an owner's.
pub(super) struct Worker {
    /// Its number among the boxes; `None` for one that has ended, and begins again when the letter comes.
    number: Option<usize>,
    kind: Kind,
    owner: Owner,
    /// What it has accepted, in this order.
    attempts: Vec<Attempt>,
    /// Where it may go alone since it has stored a letter there; none before.
    confined_to: Vec<Place>,
}

/// What a process may do, and whose rights it has.
pub(super) type Who = (Kind, Owner);

/// A place among those of a worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct At {
    pub(super) worker: usize,
    pub(super) place: usize,
}

impl<'a> Workers<'a> {
    /// Begins with none.
    pub(super) fn new(config: &'a Config, boxes: Boxes) -> Workers<'a> {
        Workers { config, boxes, about: String::new(), all: Vec::new() }
    }

    /// Returns what a copy there counts as, in the log.
    pub(super) fn stored_as(&self, at: At) -> Where {
        let worker = self.all.get(at.worker);
        let place = worker.and_then(|it| it.attempts.get(at.place)).map(|it| &it.place);
        match (worker.map(|it| it.kind), place) {
            (Some(Kind::Files), _) => Where::Maildir,
            (Some(Kind::Lmtp), _) => Where::Lmtp,
            (Some(Kind::Terminals), _) => Where::Terminal,
            (_, Some(Place::Program(_))) => Where::Command,
            _ => Where::Mbox,
        }
    }

    /// Returns what makes a place the same in another session; `None` where that is too long.
    pub(super) fn name(&self, at: At) -> Option<Vec<u8>> {
        let worker = self.all.get(at.worker)?;
        let attempt = Attempt { size: 0, ..worker.attempts.get(at.place)?.clone() };
        Some([&worker.owner.uid.to_be_bytes()[..], &attempt.name()?].concat())
    }

    /// Sends an order. A process that does not get it is ended: [`Workers::receive`] does not wait for it then.
    pub(super) fn send(&mut self, worker: usize, order: &[u8], file: Option<BorrowedFd<'_>>) {
        let number = self.all.get(worker).and_then(|it| it.number);
        if let Some(Err(error)) = number.map(|number| self.boxes.send(number, order, file)) {
            log::warn!("{}: process of a mailbox: {}", self.about, reason(&error));
            self.end(worker);
        }
    }

    /// Waits for an answer; `None` from a process that has ended, or is late and was killed.
    pub(super) fn receive(&mut self, worker: usize, until: Instant) -> Option<Vec<u8>> {
        let number = self.all.get(worker).and_then(|it| it.number);
        let answer = number.and_then(|number| self.boxes.receive(number, until));
        if answer.is_none() {
            log::warn!("{}: a process of a mailbox was killed, or is late", self.about);
            self.end(worker);
        }
        answer
    }

    /// Has a place tried by a process of its owner's; returns it, or the text of the user's `~/.forward`.
    pub(super) fn attempt(
        &mut self,
        who: Who,
        attempt: Attempt,
        until: Instant,
    ) -> Result<Result<At, Vec<u8>>, Verdict> {
        if let Some(known) = self.find(&attempt) {
            return Ok(Ok(known));
        }
        let may_go_there = |it: &Worker| {
            it.confined_to.is_empty()
                || it.confined_to.iter().any(|place| self.is_same_mailbox(place, &attempt.place))
        };
        let is_its = |it: &Worker| {
            (it.kind, it.owner) == who
                && it.number.is_some()
                && it.attempts.len() < MAX_PLACES
                && may_go_there(it)
        };
        let mut tried = Tried::NotHere;
        let mut worker = self.all.iter().position(is_its);
        if let Some(at) = worker {
            tried = self.ask(at, &attempt, until);
            if tried == Tried::NotHere && self.all.get(at).is_some_and(|it| it.attempts.is_empty())
            {
                self.end(at);
            }
        }
        if tried == Tried::NotHere {
            let at = self.fork(who, &attempt)?;
            (worker, tried) = (Some(at), self.answer(at, until));
        }
        let at = worker.unwrap_or_default();
        match tried {
            Tried::Verdict(Verdict::Accepted) => {
                let stored = settled(attempt);
                let known = self.find(&stored);
                let place = self.all.get_mut(at).map_or(0, |worker| {
                    worker.attempts.push(stored);
                    worker.attempts.len() - 1
                });
                Ok(Ok(known.unwrap_or(At { worker: at, place })))
            }
            Tried::Verdict(verdict) => Err(verdict),
            Tried::Forward(text) => Ok(Err(text)),
            Tried::NotHere => Err(Verdict::Unusable),
        }
    }

    /// Returns whether two places are one: two users may have one mailbox, which gets a letter once.
    fn is_same(&self, one: &Place, other: &Place) -> bool {
        let may_forward = |place: &Place| match place {
            Place::Mailbox { may_forward, .. } => *may_forward,
            _ => false,
        };
        one == other || may_forward(one) == may_forward(other) && self.is_same_mailbox(one, other)
    }

    /// Returns whether two places are one mailbox, whatever `~/.forward` says.
    fn is_same_mailbox(&self, one: &Place, other: &Place) -> bool {
        let path = |place: &Place| match place {
            Place::Mailbox { name, home, .. } => self.config.mail.mail.path(name, home).ok(),
            _ => None,
        };
        path(one).is_some_and(|it| path(other) == Some(it))
    }

    /// Finds a place that was accepted.
    fn find(&self, attempt: &Attempt) -> Option<At> {
        self.all.iter().enumerate().find_map(|(worker, it)| {
            let place =
                it.attempts.iter().position(|known| self.is_same(&known.place, &attempt.place));
            place.map(|place| At { worker, place })
        })
    }

    /// Forks a process for a place, which tries it.
    fn fork(&mut self, who: Who, first: &Attempt) -> Result<usize, Verdict> {
        let (number, (kind, owner)) = (Some(self.fork_box(who, first)?), who);
        let (attempts, confined_to) = (Vec::new(), Vec::new());
        self.all.push(Worker { number, kind, owner, attempts, confined_to });
        Ok(self.all.len() - 1)
    }

    fn fork_box(&mut self, who: Who, first: &Attempt) -> Result<usize, Verdict> {
        let config = self.config;
        let life = |line: &forknet::Line| boxed::live(config, who, line, first);
        self.boxes.fork(title(first), life).map_err(|error| {
            log::warn!("{}: fork: {}", self.about, reason(&error));
            Verdict::Unusable
        })
    }

    fn ask(&mut self, worker: usize, attempt: &Attempt, until: Instant) -> Tried {
        let number = self.all.get(worker).and_then(|it| it.number);
        let sent = number
            .zip(attempt.encode())
            .map(|(number, order)| self.boxes.send(number, &order, None));
        match sent {
            Some(Ok(())) => self.answer(worker, until),
            Some(Err(error)) => {
                log::debug!("{}: {}", self.about, reason(&error));
                self.end(worker);
                Tried::NotHere // it was killed
            }
            None => Tried::Verdict(Verdict::Unusable),
        }
    }

    fn answer(&mut self, worker: usize, until: Instant) -> Tried {
        match self.receive(worker, until) {
            Some(answer) => Tried::decode(&answer),
            None => Tried::Verdict(Verdict::Unusable),
        }
    }

    /// Ends a worker's process.
    fn end(&mut self, worker: usize) {
        if let Some(number) = self.all.get_mut(worker).and_then(|it| it.number.take()) {
            self.boxes.end(number);
        }
    }

    /// Ends processes beyond those that may wait; they begin again when the letter comes. Those that wait for no letter
    /// go first.
    pub(super) fn let_go(&mut self) {
        let mut waiting: Vec<(bool, usize)> = (self.all.iter().enumerate())
            .filter(|(_, it)| it.number.is_some())
            .map(|(at, it)| (it.attempts.is_empty(), at))
            .collect();
        waiting.sort_unstable();
        for (_, at) in waiting.iter().skip(MAX_WAITING) {
            self.end(*at);
        }
    }

    /// Has the processes again that were let go.
    pub(super) fn revive(&mut self) {
        let until = Instant::now() + TRY_WAIT;
        let mut begun = Vec::new();
        for at in 0..self.all.len() {
            let Some(worker) = self.all.get(at) else { continue };
            let who = (worker.kind, worker.owner);
            let (None, Some(first)) = (worker.number, worker.attempts.first().cloned()) else {
                continue;
            };
            let number = self.fork_box(who, &first).ok();
            if let Some(worker) = self.all.get_mut(at) {
                worker.number = number;
                worker.confined_to.clear();
            }
            begun.push(at);
        }
        for at in begun {
            let others = self.all.get(at).map(|it| it.attempts.clone()).unwrap_or_default();
            let is_accepted = |tried: Tried| tried == Tried::Verdict(Verdict::Accepted);
            let accepted = is_accepted(self.answer(at, until))
                && others.iter().skip(1).all(|it| is_accepted(self.ask(at, it, until)));
            if !accepted {
                self.end(at); // its places fail
            }
        }
    }

    /// Forgets the recipients; what was made for them is gone when this returns.
    pub(super) fn forget(&mut self) {
        let until = Instant::now() + UNDO_WAIT;
        let has_some = |it: &Worker| it.number.filter(|_| !it.attempts.is_empty());
        let numbers: Vec<usize> = self.all.iter().filter_map(has_some).collect();
        for number in &numbers {
            if let Err(error) = self.boxes.send(*number, &[UNDO], None) {
                log::debug!("{}: {}", self.about, reason(&error));
            }
        }
        for number in numbers {
            if self.boxes.receive(number, until).is_none() {
                self.boxes.end(number);
                self.all.retain(|it| it.number != Some(number));
            }
        }
        self.clear();
    }

    /// Has all leave the letter where it is, and forgets the recipients. A process that does not receive it is killed:
    /// it would take the letter back when it reads the end of its line, and the letter is about to be acknowledged.
    /// `alone` has left its own there, and one without recipients has none.
    pub(super) fn keep(&mut self, alone: Option<usize>) {
        for worker in self.all.iter_mut().filter(|it| it.confined_to.is_empty()) {
            worker.confined_to = worker.attempts.iter().map(|it| it.place.clone()).collect();
        }
        let has_some = |(at, it): (usize, &Worker)| {
            it.number.filter(|_| Some(at) != alone && !it.attempts.is_empty())
        };
        for number in self.all.iter().enumerate().filter_map(has_some) {
            if let Err(error) = self.boxes.send(number, &[KEEP], None) {
                log::debug!("{}: {}", self.about, reason(&error));
                self.boxes.kill(number);
            }
        }
        self.clear();
    }

    /// Forgets the recipients, and ends processes but for some that can store the next letter.
    fn clear(&mut self) {
        let mut kept = 0;
        self.all.sort_by_key(|it| it.attempts.is_empty()); // those that were used come first
        for at in 0..self.all.len() {
            let Some(worker) = self.all.get_mut(at) else { continue };
            worker.attempts.clear();
            if worker.number.is_some() && worker.kind == Kind::Files && kept < MAX_KEPT {
                kept += 1;
            } else {
                self.end(at);
            }
        }
        self.all.retain(|it| it.number.is_some());
    }
}

/// Returns what was accepted: a mailbox whose user has no `~/.forward`.
fn settled(mut attempt: Attempt) -> Attempt {
    match &mut attempt.place {
        Place::Mailbox { may_forward, .. } => *may_forward = false,
        Place::Program(command) => command.may_forward = false,
        Place::File(_) | Place::Terminal { .. } => {}
    }
    attempt
}

/// Returns what `ps` shows.
fn title(attempt: &Attempt) -> String {
    let shown = |text: &[u8]| in_title(text.escape_ascii().to_string().as_bytes());
    match &attempt.place {
        Place::Mailbox { name, .. } => format!("mailbox of {}", shown(name)),
        Place::File(path) => format!("file {}", shown(path.as_os_str().as_encoded_bytes())),
        Place::Program(command) => format!("command of {}", shown(&command.name)),
        Place::Terminal { name, .. } => format!("terminal of {}", shown(name)),
    }
}
