//! Counts failed logins, per address and per name, and says how long an answer has to wait.
//!
//! The table is the keeper's. A process that it forks to check a login looks into the copy that it has
//! inherited ([`Guesses::turn`]), and sends back which two hashes have failed ([`Guesses::failure`]): the
//! keeper reads no name and no address.
//!
//! Memory is bounded, and taken once: where there is no room, the entry whose last failure is longest
//! ago is given up. Addresses and names are kept as hashes with a key of this process, so that no
//! client can choose names that fall together.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] after which answers wait.
const BURST_FAILURES: usize = 10;
/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(60);
/// Entries that share a place of the table, in addresses or names.
const WAYS_ADDRESSES: usize = 8;
/// Places of a table: with 8 entries each, room for 4096 addresses and as many names.
const SETS_ADDRESSES: usize = 512;
/// Bits of an IPv6 address that count as one: what one customer is given.
const PREFIX_V6_BITS: u32 = 64;

/// The failures of one address or name.
#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    /// When the last of them were, in milliseconds since the table was made plus one; 0 is none.
    failures: [u64; BURST_FAILURES],
}

/// The key, a hash of 64 bits, of what does not count.
const NO_KEY: u64 = 0;
const EMPTY: Entry = Entry { key: NO_KEY, failures: [0; BURST_FAILURES] };

impl Entry {
    fn last(&self) -> u64 {
        self.failures.iter().copied().max().unwrap_or(0)
    }

    /// How many milliseconds the next answer has to wait.
    fn wait(&self, now: u64) -> u64 {
        let oldest = self.failures.iter().copied().min().unwrap_or(0);
        let is_full = oldest != 0;
        let end = oldest.saturating_add(window());
        if is_full { end.saturating_sub(now) } else { 0 }
    }

    /// Whether one of the failures still counts.
    fn has_failed(&self, now: u64) -> bool {
        let last = self.last();
        last != 0 && last.saturating_add(window()) > now
    }

    /// Puts a failure in the place of the oldest.
    fn add(&mut self, now: u64) {
        if let Some(oldest) = self.failures.iter_mut().min() {
            *oldest = now;
        }
    }
}

/// Milliseconds of [`WINDOW`].
fn window() -> u64 {
    u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX)
}

/// The failures of all addresses, or of all names.
struct Table(Vec<[Entry; WAYS_ADDRESSES]>);

impl Table {
    fn new() -> Table {
        Table(vec![[EMPTY; WAYS_ADDRESSES]; SETS_ADDRESSES])
    }

    /// Where the entry of this key is, or would be.
    fn set(&self, key: u64) -> Option<usize> {
        usize::try_from(key % self.0.len() as u64).ok()
    }

    fn find(&self, key: u64) -> Option<&Entry> {
        let set = self.0.get(self.set(key)?)?;
        set.iter().find(|entry| key != NO_KEY && entry.key == key)
    }

    fn wait(&self, key: u64, now: u64) -> Option<Duration> {
        let wait = self.find(key)?.wait(now);
        (wait > 0).then(|| Duration::from_millis(wait))
    }

    fn add(&mut self, key: u64, now: u64) {
        let Some(set) = self.set(key).and_then(|at| self.0.get_mut(at)) else { return };
        if key == NO_KEY {
            return;
        }
        let known = set.iter_mut().find(|entry| entry.key == key);
        match known {
            Some(entry) => entry.add(now),
            None => {
                if let Some(oldest) = set.iter_mut().min_by_key(|entry| entry.last()) {
                    *oldest = Entry { key, ..EMPTY };
                    oldest.add(now);
                }
            }
        }
    }
}

/// When a login may be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once.
    Now,
    /// After a wait: too many have failed under this name, and none from this address. So the owner of a name
    /// that others guess at gets in, slowly.
    Later(Duration),
    /// Not before this time has passed: too many have failed from this address, or under this name and some
    /// of those from this address.
    NotYet(Duration),
}

/// Bytes of [`Guesses::failure`].
pub const FAILURE_BYTES: usize = 16;

/// The failures of a server's clients. About 0.7 MiB, for the keeper's own memory.
pub struct Guesses {
    start: Instant,
    hasher: RandomState,
    addresses: Table,
    names: Table,
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guesses")
    }
}

impl Guesses {
    /// Makes an empty table; `now` is the present, here and in the other functions.
    #[must_use]
    pub fn new(now: Instant) -> Guesses {
        let (addresses, names) = (Table::new(), Table::new());
        Guesses { start: now, hasher: RandomState::new(), addresses, names }
    }

    /// Returns when a login may be checked: at once while fewer than ten failures of this address (IPv4: /32,
    /// IPv6: /64), and of this name, lie within the last minute. `name` is in its canonical form. What is `None` counts as
    /// nothing.
    #[must_use]
    pub fn turn(&self, now: Instant, address: Option<IpAddr>, name: Option<&[u8]>) -> Turn {
        let now = self.milliseconds(now);
        let (address, name) = self.keys(address, name);
        let of_address = self.addresses.wait(address, now);
        let of_name = self.names.wait(name, now);
        let has_failed = || self.addresses.find(address).is_some_and(|entry| entry.has_failed(now));
        match (of_address, of_name) {
            (None, None) => Turn::Now,
            (None, Some(wait)) if !has_failed() => Turn::Later(wait),
            (one, other) => Turn::NotYet(one.max(other).unwrap_or_default()),
        }
    }

    /// Returns what [`Guesses::failed`] counts, of an address and a name as for [`Guesses::turn`]: their
    /// hashes.
    #[must_use]
    pub fn failure(&self, address: Option<IpAddr>, name: Option<&[u8]>) -> [u8; FAILURE_BYTES] {
        let (address, name) = self.keys(address, name);
        ((u128::from(address) << u64::BITS) | u128::from(name)).to_be_bytes()
    }

    /// Counts a failed login. A successful one takes nothing back: otherwise the owner of one account could
    /// guess at another's for ever.
    pub fn failed(&mut self, now: Instant, failure: [u8; FAILURE_BYTES]) {
        let now = self.milliseconds(now);
        let [address @ .., _, _, _, _, _, _, _, _] = failure;
        let [_, _, _, _, _, _, _, _, name @ ..] = failure;
        self.addresses.add(u64::from_be_bytes(address), now);
        self.names.add(u64::from_be_bytes(name), now);
    }

    fn keys(&self, address: Option<IpAddr>, name: Option<&[u8]>) -> (u64, u64) {
        let address = address.map(|address| self.hasher.hash_one(network(address)));
        let name = name.map(|name| self.hasher.hash_one(name));
        let key = |hash: Option<u64>| hash.map_or(NO_KEY, |hash| hash.max(NO_KEY + 1));
        (key(address), key(name))
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// The addresses that count as one. IPv4 written as IPv6 is IPv4.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - PREFIX_V6_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    impl Guesses {
        fn wait(&self, now: Instant, address: Option<IpAddr>, name: &[u8]) -> Option<Duration> {
            match self.turn(now, address, Some(name)) {
                Turn::Now => None,
                Turn::Later(wait) | Turn::NotYet(wait) => Some(wait),
            }
        }

        fn fail(&mut self, now: Instant, address: Option<IpAddr>, name: &[u8]) {
            self.failed(now, self.failure(address, Some(name)));
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn after_ten_failures_in_a_minute_answers_wait() {
        let start = Instant::now();
        let mut guesses = Guesses::new(start);
        let address = ip("192.0.2.1");
        for n in 0..10 {
            assert_eq!(guesses.wait(start + seconds(n), address, b"levy"), None, "{n}");
            guesses.fail(start + seconds(n), address, b"levy");
        }
        // Ten failures at 0 to 9 s: until the first is a minute old.
        let now = start + seconds(10);
        for (address, name) in [
            (address, &b"levy"[..]),
            (address, b"mrose"),
            (ip("192.0.2.2"), b"levy"),
            (None, b"levy"),
        ] {
            assert_eq!(guesses.wait(now, address, name), Some(seconds(50)));
        }
        assert_eq!(guesses.wait(now, ip("192.0.2.2"), b"mrose"), None);
        assert_eq!(guesses.wait(start + seconds(60), address, b"levy"), None);
        guesses.fail(start + seconds(60), address, b"levy");
        assert_eq!(guesses.wait(start + seconds(60), address, b"levy"), Some(seconds(1)));
        assert_eq!(guesses.wait(start + seconds(121), address, b"levy"), None);
    }

    #[test]
    fn the_owner_of_a_name_that_others_guess_at_waits_and_who_has_failed_is_not_checked() {
        let now = Instant::now();
        let mut guesses = Guesses::new(now);
        for n in 0..10 {
            guesses.fail(now, ip(&format!("192.0.2.{n}")), b"levy");
        }
        let turn = |address, name| guesses.turn(now + seconds(1), address, name);
        let (guesser, other) = (ip("192.0.2.3"), ip("192.0.2.77"));
        assert_eq!(turn(guesser, Some(b"levy")), Turn::NotYet(seconds(59)));
        assert_eq!(turn(guesser, Some(b"mrose")), Turn::Now);
        assert_eq!(turn(other, Some(b"levy")), Turn::Later(seconds(59)));
        assert_eq!(turn(None, Some(b"levy")), Turn::Later(seconds(59)));
        assert_eq!(turn(other, None), Turn::Now);
        for _ in 0..9 {
            guesses.failed(now, guesses.failure(guesser, None));
        }
        let turn = |address, name| guesses.turn(now + seconds(1), address, name);
        assert_eq!(turn(guesser, Some(b"mrose")), Turn::NotYet(seconds(59)));
        assert_eq!(turn(guesser, None), Turn::NotYet(seconds(59)));
        assert_eq!(turn(None, None), Turn::Now);
    }

    #[test]
    fn what_is_not_known_counts_as_nothing() {
        let now = Instant::now();
        let mut guesses = Guesses::new(now);
        (0..20).for_each(|_| guesses.failed(now, guesses.failure(None, None)));
        assert_eq!(guesses.failure(None, None), [0; FAILURE_BYTES]);
        assert_eq!(guesses.turn(now, None, None), Turn::Now);
    }

    #[test]
    fn slow_mistakes_never_wait() {
        let start = Instant::now();
        let mut guesses = Guesses::new(start);
        for n in 0..1000 {
            let now = start + seconds(7 * n);
            assert_eq!(guesses.wait(now, ip("192.0.2.1"), b"levy"), None);
            guesses.fail(now, ip("192.0.2.1"), b"levy");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let now = Instant::now();
        let mut guesses = Guesses::new(now);
        for n in 0..10 {
            guesses.fail(now, ip(&format!("2001:db8::{n}")), format!("user{n}").as_bytes());
            guesses.fail(now, ip(&format!("::ffff:192.0.2.{n}")), format!("user{n}").as_bytes());
        }
        assert!(guesses.wait(now, ip("2001:db8::ffff:1"), b"x").is_some());
        assert!(guesses.wait(now, ip("2001:db8:0:1::1"), b"x").is_none());
        assert!(guesses.wait(now, ip("192.0.2.1"), b"x").is_none());
        (0..9).for_each(|_| guesses.fail(now, ip("::ffff:192.0.2.1"), b"y"));
        assert!(guesses.wait(now, ip("192.0.2.1"), b"x").is_some());
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_the_latest_are_kept() {
        let start = Instant::now();
        let mut guesses = Guesses::new(start);
        let size = |guesses: &Guesses| guesses.names.0.len() + guesses.addresses.0.len();
        let before = size(&guesses);
        for n in 0..20_000_u32 {
            let address = Some(IpAddr::from(n.to_be_bytes()));
            guesses.fail(start, address, &n.to_be_bytes());
        }
        assert_eq!(size(&guesses), before);
        let now = start + seconds(1);
        (0..10).for_each(|_| guesses.fail(now, None, b"levy"));
        assert_eq!(guesses.wait(now, None, b"levy"), Some(seconds(60)));
    }

    #[test]
    fn a_clock_that_stands_before_the_start_does_no_harm() {
        let now = Instant::now();
        let mut guesses = Guesses::new(now + seconds(100));
        (0..20).for_each(|_| guesses.fail(now, None, b"levy"));
        assert!(guesses.wait(now, None, b"levy").is_some());
    }
}
