//! When each user has logged in last, for a server that limits how often (RFC 2449 §6.5, LOGIN-DELAY).
//!
//! As with [`Guesses`](crate::Guesses) the table is the keeper's: a process that checks a login looks into the copy
//! that it has inherited, and sends back a hash. Memory is bounded and taken once; where there is no room, the login that is
//! longest ago is forgotten, and that user may log in sooner.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// Logins that share a place of the table.
const WAYS: usize = 8;
/// Places of the table: with 8 logins each, room for 32,768 users in 512 KiB.
const SETS: usize = 4096;
/// The key, a hash of 64 bits, of a place that is free.
const NO_KEY: u64 = 0;

/// Bytes of [`LoginTimes::login`].
pub const LOGIN_BYTES: usize = 8;

/// A login: whose, and when in milliseconds since the table was made.
#[derive(Clone, Copy)]
struct Last {
    key: u64,
    at: u64,
}

/// The last logins of a server's users.
pub struct LoginTimes {
    start: Instant,
    hasher: RandomState,
    sets: Vec<[Last; WAYS]>,
}

impl std::fmt::Debug for LoginTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginTimes")
    }
}

impl LoginTimes {
    /// Makes an empty table; `now` is the present, here and in the other functions.
    #[must_use]
    pub fn new(now: Instant) -> LoginTimes {
        let sets = vec![[Last { key: NO_KEY, at: 0 }; WAYS]; SETS];
        LoginTimes { start: now, hasher: RandomState::new(), sets }
    }

    /// Returns how long ago the last login of this user was, `None` where none is known. The name is in its canonical
    /// form.
    #[must_use]
    pub fn age(&self, now: Instant, name: &[u8]) -> Option<Duration> {
        let key = self.key(name);
        let last = self.sets.get(set(key)?)?.iter().find(|last| last.key == key)?;
        Some(Duration::from_millis(self.milliseconds(now).saturating_sub(last.at)))
    }

    /// Returns what [`LoginTimes::logged_in`] takes: the hash of a name.
    #[must_use]
    pub fn login(&self, name: &[u8]) -> [u8; LOGIN_BYTES] {
        self.key(name).to_be_bytes()
    }

    /// Notes that a user has logged in.
    pub fn logged_in(&mut self, now: Instant, login: [u8; LOGIN_BYTES]) {
        let (key, at) = (u64::from_be_bytes(login), self.milliseconds(now));
        let Some(set) = set(key).and_then(|set| self.sets.get_mut(set)) else { return };
        let known = set.iter().position(|last| last.key == key);
        let oldest = || set.iter().enumerate().min_by_key(|(_, last)| last.at).map(|(n, _)| n);
        if let Some(last) = known.or_else(oldest).and_then(|number| set.get_mut(number)) {
            *last = Last { key, at };
        }
    }

    fn key(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name).max(NO_KEY + 1)
    }

    /// As milliseconds since the table was made, and one more, so that a free place is the oldest.
    fn milliseconds(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Returns where the login of this key is, or would be.
fn set(key: u64) -> Option<usize> {
    usize::try_from(key % SETS as u64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_login_of_each_user_is_known() {
        let start = Instant::now();
        let mut times = LoginTimes::new(start);
        assert_eq!(times.age(start, b"levy"), None);
        times.logged_in(start, times.login(b"levy"));
        let later = start + Duration::from_secs(60);
        times.logged_in(later, times.login(b"mrose"));
        assert_eq!(times.age(later, b"levy"), Some(Duration::from_secs(60)));
        assert_eq!(times.age(later, b"mrose"), Some(Duration::ZERO));
        times.logged_in(later, times.login(b"levy"));
        assert_eq!(times.age(later, b"levy"), Some(Duration::ZERO));
        assert_eq!(times.age(later, b"nobody"), None);
    }

    #[test]
    fn where_there_is_no_room_the_oldest_login_is_forgotten() {
        let start = Instant::now();
        let mut times = LoginTimes::new(start);
        let key = |n: u64| (n * SETS as u64 + 7).to_be_bytes();
        for n in 0..=WAYS as u64 {
            times.logged_in(start + Duration::from_secs(n), key(n));
        }
        let known: Vec<u64> = times.sets[7].iter().map(|last| last.key).collect();
        assert!(!known.contains(&u64::from_be_bytes(key(0))), "{known:?}");
        assert!((1..=WAYS as u64).all(|n| known.contains(&u64::from_be_bytes(key(n)))));
    }
}
