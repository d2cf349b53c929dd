//! Letters that have come to some of their places and not to others: which places have them, so that none gets a
//! letter twice when the client sends it again (RFC 5321 §4.2.5 has one reply for all recipients).
//!
//! ```text
//!  keeper: the table <------------- note: hashes of letter and place --+
//!    | fork, with a copy of the table                                  |
//!    +--> process that answers: who has this letter? -- delivers ------+ (some have it, some not)
//! ```
//! The table ends with the server. What it does not know is delivered again, because two copies are better than none.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most places that are known, a number; beyond it the oldest are forgotten. About 2 MiB.
const MAX_PLACES: usize = 16 * 1024;
/// Longest time that a place is known: clients give up after four or five days (RFC 5321 §4.5.4.1).
const MAX_AGE: Duration = Duration::from_secs(6 * 24 * 60 * 60);
/// Bytes of a hash.
pub const KEY_BYTES: usize = 16;
/// Most hashes in a note, which has at most [`forknet::MAX_NOTE`] bytes.
const KEYS_IN_NOTE: usize = 3;
/// First bytes of notes: a place has a letter; it need not be known any more.
const HAS: u8 = b'h';
const DONE: u8 = b'd';

/// A hash of a letter and a place.
pub type Key = [u8; KEY_BYTES];

/// The places that have letters which come again.
#[derive(Debug, Default)]
pub struct Duplicates(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    since: HashMap<Key, Instant>,
    /// The oldest first; one that was noted again stands here twice.
    order: VecDeque<(Instant, Key)>,
}

impl Duplicates {
    /// Returns whether no place is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table(|table| table.since.is_empty())
    }

    /// Returns whether the place has the letter; `now` is the present, here and in the other functions.
    #[must_use]
    pub fn has(&self, now: Instant, key: &Key) -> bool {
        self.table(|table| table.has(now, key))
    }

    /// Notes what happened to these places; returns the notes for the keeper.
    #[must_use]
    pub fn note(&self, now: Instant, has: &[Key], done: &[Key]) -> Vec<Vec<u8>> {
        let note = |(kind, keys): (u8, &[Key])| [&[kind], keys.concat().as_slice()].concat();
        let all = |kind, keys: &'_ [Key]| {
            keys.chunks(KEYS_IN_NOTE).map(|keys| note((kind, keys))).collect::<Vec<_>>()
        };
        let notes = [all(HAS, has), all(DONE, done)].concat();
        notes.iter().for_each(|it| {
            self.noted(now, it);
        });
        notes
    }

    /// Takes a note, in the keeper; returns whether it was one.
    pub fn noted(&self, now: Instant, note: &[u8]) -> bool {
        let Some((kind @ (&HAS | &DONE), keys)) = note.split_first() else { return false };
        if keys.is_empty() || keys.len() % KEY_BYTES != 0 {
            return false;
        }
        self.table(|table| {
            for key in keys.chunks(KEY_BYTES).filter_map(|key| Key::try_from(key).ok()) {
                match *kind {
                    HAS => table.add(now, key),
                    _ => drop(table.since.remove(&key)),
                }
            }
        });
        true
    }

    fn table<T>(&self, use_it: impl FnOnce(&mut Table) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    fn has(&self, now: Instant, key: &Key) -> bool {
        self.since.get(key).is_some_and(|since| now.saturating_duration_since(*since) < MAX_AGE)
    }

    fn add(&mut self, now: Instant, key: Key) {
        self.since.insert(key, now);
        self.order.push_back((now, key));
        while let Some((since, key)) = self.order.front().copied() {
            let is_old = now.saturating_duration_since(since) >= MAX_AGE;
            if !is_old && self.order.len() <= MAX_PLACES {
                return;
            }
            self.order.pop_front();
            if self.since.get(&key) == Some(&since) {
                self.since.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_known_until_it_is_done_or_old() {
        let (mine, keepers) = (Duplicates::default(), Duplicates::default());
        let now = Instant::now();
        let keys: Vec<Key> = (0..7).map(|n| [n; KEY_BYTES]).collect();
        let notes = mine.note(now, &keys, &[]);
        assert!(
            notes.iter().all(|note| note.len() <= forknet::MAX_NOTE && keepers.noted(now, note))
        );
        for table in [&mine, &keepers] {
            assert!(keys.iter().all(|key| table.has(now, key)) && !table.is_empty());
            assert!(!table.has(now, &[9; KEY_BYTES]) && !table.has(now + MAX_AGE, &keys[0]));
        }
        let notes = mine.note(now, &[], &keys[..6]);
        assert!(notes.iter().all(|note| keepers.noted(now, note)));
        assert!(
            !keepers.has(now, &keys[5]) && keepers.has(now, &keys[6]) && mine.has(now, &keys[6])
        );
        for odd in [&b""[..], b"h", b"hx", b"d", &[b'x'; 17], &[0; 8], &[1; 16]] {
            assert!(!keepers.noted(now, odd), "{odd:?}");
        }
    }

    #[test]
    fn of_more_than_there_is_room_for_the_oldest_are_forgotten() {
        let (table, now) = (Duplicates::default(), Instant::now());
        let key = |n: usize| -> Key { (n as u128).to_be_bytes() };
        for n in 0..MAX_PLACES + 10 {
            assert!(
                table.noted(now + Duration::from_secs(n as u64), &[&[HAS], &key(n)[..]].concat())
            );
        }
        let last = now + Duration::from_secs(MAX_PLACES as u64 + 10);
        assert!(!table.has(last, &key(9)) && table.has(last, &key(10)));
        assert_eq!(
            table.table(|table| (table.since.len(), table.order.len())),
            (MAX_PLACES, MAX_PLACES)
        );
    }
}
