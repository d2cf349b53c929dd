//! Which letters are due where, and which processes have them: the memory of the parent. It looks at no file and at no
//! clock. Times are in seconds since 1970.
//!
//! A letter of the queue costs the parent some 200 bytes, whatever its size: its name, and for each destination when it is
//! due there.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::destination::Destination;

/// A letter's name in the queue.
pub type Name = Rc<OsStr>;

/// Fewest letters for which another process is started for a destination that has one: a connection costs more than
/// a letter.
const MIN_LETTERS: usize = 10;
/// Processes at once that tell authors.
const MAX_TELLING: usize = 2;

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Processes for one destination.
    pub per_destination: usize,
    /// Letters of one process.
    pub letters: usize,
}

/// Letters that a process is given for one destination.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where they go.
    pub destination: Destination,
    /// Their names, the one that is due first in front; at least one.
    pub letters: Vec<Name>,
}

/// All letters that are known.
#[derive(Debug)]
pub struct Schedule {
    letters: HashMap<Name, Letter>,
    lines: HashMap<Destination, Line>,
    /// The destinations that may have another process, by the time when their first letter is due.
    ready: BTreeSet<(u64, Destination)>,
    limits: Limits,
    /// Number of letters in `letters` that are held.
    held: usize,
    /// The look at the queue that goes on: the other value is that of the one before.
    look: bool,
}

#[derive(Debug, Default)]
struct Letter {
    /// Most letters have one destination.
    parts: SmallVec<[Part; 1]>,
    is_held: bool,
    /// The look at the queue that has found it last.
    seen: bool,
}

/// A letter at one of its destinations.
#[derive(Debug)]
struct Part {
    destination: Destination,
    due: u64,
    is_running: bool,
}

/// A destination.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<(u64, Name)>,
    running: usize,
    /// It was not to be reached: until then one process at a time tries, and none before.
    rests_until: Option<u64>,
    /// Its entry in `ready`.
    listed: Option<u64>,
}

impl Schedule {
    /// Knows no letter yet.
    #[must_use]
    pub fn new(limits: Limits) -> Schedule {
        let (letters, lines, ready) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        Schedule { letters, lines, ready, limits, held: 0, look: false }
    }

    /// Returns the number of letters, and of those that are held.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.letters.len(), self.held)
    }

    /// Returns whether a letter is known.
    #[must_use]
    pub fn knows(&self, name: &OsStr) -> bool {
        self.letters.contains_key(name)
    }

    /// Sets when a letter is due where. Where a process has it that stays as it is, and is not given away twice.
    pub fn put(&mut self, name: &Name, parts: Vec<(Destination, u64)>, is_held: bool) {
        let known = self.letters.get_key_value(name).map(|(known, _)| Rc::clone(known));
        let name = known.unwrap_or_else(|| Rc::clone(name));
        self.withdraw(&name);
        let letter = self.letters.entry(Rc::clone(&name)).or_default();
        letter.seen = self.look;
        letter.parts.retain(|part| part.is_running);
        for (destination, due) in parts {
            if !letter.parts.iter().any(|part| part.destination == destination) {
                letter.parts.push(Part { destination, due, is_running: false });
            }
        }
        self.held -= usize::from(letter.is_held);
        self.held += usize::from(is_held);
        letter.is_held = is_held;
        self.offer(&name);
    }

    /// Holds a letter that is known, or releases it.
    pub fn hold(&mut self, name: &OsStr, is_held: bool) {
        let Some((name, _)) = self.letters.get_key_value(name) else { return };
        let name = Rc::clone(name);
        self.withdraw(&name);
        if let Some(letter) = self.letters.get_mut(&name) {
            self.held -= usize::from(letter.is_held);
            self.held += usize::from(is_held);
            letter.is_held = is_held;
        }
        self.offer(&name);
    }

    /// Forgets a letter, but where a process has it.
    pub fn remove(&mut self, name: &OsStr) {
        let Some((name, _)) = self.letters.get_key_value(name) else { return };
        let name = Rc::clone(name);
        self.withdraw(&name);
        let Some(letter) = self.letters.get_mut(&name) else { return };
        letter.parts.retain(|part| part.is_running);
        if letter.parts.is_empty() {
            self.held -= usize::from(letter.is_held);
            self.letters.remove(&name);
        }
    }

    /// Begins a look at the queue, which [`Schedule::see`]s its letters.
    pub fn begin_look(&mut self) {
        self.look = !self.look;
    }

    /// Notes that a letter is there; returns whether it is known.
    pub fn see(&mut self, name: &OsStr) -> bool {
        let look = self.look;
        self.letters.get_mut(name).map(|letter| letter.seen = look).is_some()
    }

    /// Ends a look: letters that it has not seen are forgotten, but where a process has them.
    pub fn end_look(&mut self) {
        let is_gone = |letter: &Letter| letter.seen != self.look;
        let gone = self.letters.iter().filter(|(_, letter)| is_gone(letter));
        let gone: Vec<Name> = gone.map(|(name, _)| Rc::clone(name)).collect();
        gone.iter().for_each(|name| self.remove(name));
    }

    /// Makes all letters due now that are not held, and lets no destination rest.
    pub fn flush(&mut self, now: u64) {
        let names: Vec<Name> = self.letters.keys().map(Rc::clone).collect();
        for name in names {
            self.withdraw(&name);
            if let Some(letter) = self.letters.get_mut(&name) {
                letter.parts.iter_mut().for_each(|part| part.due = part.due.min(now));
            }
            self.offer(&name);
        }
        let resting: Vec<Destination> = self.resting().cloned().collect();
        resting.iter().for_each(|destination| self.rest(destination, None));
    }

    fn resting(&self) -> impl Iterator<Item = &Destination> {
        self.lines.iter().filter(|(_, line)| line.rests_until.is_some()).map(|(key, _)| key)
    }

    /// Returns the letters that are due longest, for a process of their destination; `None` when none is due where
    /// another process may be.
    pub fn take(&mut self, now: u64) -> Option<Batch> {
        loop {
            let (due, destination) = self.ready.first()?.clone();
            if due > now {
                return None;
            }
            let line = self.lines.get(&destination)?;
            let limit = self.limit(&destination);
            let most = self.limits.letters.saturating_mul(limit);
            let waiting = line.waiting.iter().take_while(|(due, _)| *due <= now).take(most).count();
            // A few go over one connection, many over all that there may be.
            let share = waiting.div_ceil(limit).max(MIN_LETTERS).min(self.limits.letters);
            let due = line.waiting.iter().take_while(|(due, _)| *due <= now).take(share);
            let letters: Vec<Name> = due.map(|(_, name)| Rc::clone(name)).collect();
            if letters.is_empty() {
                // It has rested, and no letter is due.
                self.rest(&destination, None);
                continue;
            }
            for name in &letters {
                self.start(name, &destination);
            }
            if let Some(line) = self.lines.get_mut(&destination) {
                line.running += 1;
            }
            self.list(&destination);
            return Some(Batch { destination, letters });
        }
    }

    /// Notes that a process has a letter.
    fn start(&mut self, name: &Name, destination: &Destination) {
        let Some(letter) = self.letters.get_mut(name) else { return };
        let part = letter.parts.iter_mut().find(|part| part.destination == *destination);
        if let (Some(part), Some(line)) = (part, self.lines.get_mut(destination)) {
            line.waiting.remove(&(part.due, Rc::clone(name)));
            part.is_running = true;
        }
    }

    /// Notes that a process has ended: its letters are known no more at that destination, until they are put again.
    pub fn ended(&mut self, batch: &Batch) {
        for name in &batch.letters {
            if let Some(letter) = self.letters.get_mut(name) {
                letter.parts.retain(|part| part.destination != batch.destination);
            }
        }
        if let Some(line) = self.lines.get_mut(&batch.destination) {
            line.running = line.running.saturating_sub(1);
        }
        self.list(&batch.destination);
    }

    /// Has a destination rest until then, because it could not be reached; or not any more.
    pub fn rest(&mut self, destination: &Destination, until: Option<u64>) {
        if let Some(line) = self.lines.get_mut(destination) {
            line.rests_until = until;
        }
        self.list(destination);
    }

    /// Returns when the next letter is due where another process may be.
    #[must_use]
    pub fn first_due(&self) -> Option<u64> {
        self.ready.first().map(|(due, _)| *due)
    }

    /// Puts a letter into the lines of its destinations, unless it is held.
    fn offer(&mut self, name: &Name) {
        let Some(letter) = self.letters.get(name).filter(|letter| !letter.is_held) else { return };
        let waiting = letter.parts.iter().filter(|part| !part.is_running);
        let parts: Vec<_> = waiting.map(|part| (part.destination.clone(), part.due)).collect();
        for (destination, due) in parts {
            let line = self.lines.entry(destination.clone()).or_default();
            line.waiting.insert((due, Rc::clone(name)));
            self.list(&destination);
        }
    }

    /// Takes a letter out of the lines.
    fn withdraw(&mut self, name: &Name) {
        let Some(letter) = self.letters.get(name) else { return };
        let waiting = letter.parts.iter().filter(|part| !part.is_running);
        let parts: Vec<_> = waiting.map(|part| (part.destination.clone(), part.due)).collect();
        for (destination, due) in parts {
            if let Some(line) = self.lines.get_mut(&destination) {
                line.waiting.remove(&(due, Rc::clone(name)));
            }
            self.list(&destination);
        }
    }

    fn limit(&self, destination: &Destination) -> usize {
        if destination.is_author() { MAX_TELLING } else { self.limits.per_destination.max(1) }
    }

    /// Brings the entry of a destination in `ready` up to date; forgets one that has nothing.
    fn list(&mut self, destination: &Destination) {
        let limit = self.limit(destination);
        let Some(line) = self.lines.get_mut(destination) else { return };
        if let Some(listed) = line.listed.take() {
            self.ready.remove(&(listed, destination.clone()));
        }
        if line.waiting.is_empty() && line.running == 0 && line.rests_until.is_none() {
            self.lines.remove(destination);
            return;
        }
        let limit = if line.rests_until.is_some() { 1 } else { limit };
        if line.running >= limit {
            return;
        }
        let first = line.waiting.first().map(|(due, _)| *due);
        let listed = match (first, line.rests_until) {
            (Some(due), until) => Some(due.max(until.unwrap_or_default())),
            (None, until) => until,
        };
        if let Some(due) = listed {
            self.ready.insert((due, destination.clone()));
        }
        line.listed = listed;
    }
}

#[cfg(test)]
mod tests;
