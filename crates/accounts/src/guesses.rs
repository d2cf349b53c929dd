//! Counts failed logins, per address and per name, and says how long an answer has to wait.
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

const EMPTY: Entry = Entry { key: 0, failures: [0; BURST_FAILURES] };

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

    fn set(&mut self, key: u64) -> Option<&mut [Entry; WAYS_ADDRESSES]> {
        let at = usize::try_from(key % self.0.len() as u64).ok()?;
        self.0.get_mut(at)
    }

    fn wait(&mut self, key: u64, now: u64) -> u64 {
        let set = self.set(key).into_iter().flatten();
        set.filter(|entry| entry.key == key).map(|entry| entry.wait(now)).max().unwrap_or(0)
    }

    fn add(&mut self, key: u64, now: u64) {
        let Some(set) = self.set(key) else { return };
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

/// The failures of a server's clients. About 0.7 MiB, for the parent's or keeper's own memory.
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

    /// Returns how long an answer has to wait, without a look at the password: until fewer than ten
    /// failures of this address (IPv4: /32, IPv6: /64), and of this name, lie within the last minute.
    /// `name` is in its canonical form. A client without an address, by a UNIX-domain socket, counts by
    /// its name alone.
    #[must_use]
    pub fn wait(&mut self, now: Instant, address: Option<IpAddr>, name: &[u8]) -> Option<Duration> {
        let now = self.milliseconds(now);
        let by_name = self.names.wait(self.hasher.hash_one(name), now);
        let address = address.map(|address| self.hasher.hash_one(network(address)));
        let by_address = address.map_or(0, |key| self.addresses.wait(key, now));
        let longest = by_name.max(by_address);
        (longest > 0).then(|| Duration::from_millis(longest))
    }

    /// Counts a failed login. A successful one takes nothing back: otherwise the owner of one account could
    /// guess at another's for ever.
    pub fn failed(&mut self, now: Instant, address: Option<IpAddr>, name: &[u8]) {
        let now = self.milliseconds(now);
        self.names.add(self.hasher.hash_one(name), now);
        if let Some(address) = address {
            self.addresses.add(self.hasher.hash_one(network(address)), now);
        }
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
            guesses.failed(start + seconds(n), address, b"levy");
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
        guesses.failed(start + seconds(60), address, b"levy");
        assert_eq!(guesses.wait(start + seconds(60), address, b"levy"), Some(seconds(1)));
        assert_eq!(guesses.wait(start + seconds(121), address, b"levy"), None);
    }

    #[test]
    fn slow_mistakes_never_wait() {
        let start = Instant::now();
        let mut guesses = Guesses::new(start);
        for n in 0..1000 {
            let now = start + seconds(7 * n);
            assert_eq!(guesses.wait(now, ip("192.0.2.1"), b"levy"), None);
            guesses.failed(now, ip("192.0.2.1"), b"levy");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let now = Instant::now();
        let mut guesses = Guesses::new(now);
        for n in 0..10 {
            guesses.failed(now, ip(&format!("2001:db8::{n}")), format!("user{n}").as_bytes());
            guesses.failed(now, ip(&format!("::ffff:192.0.2.{n}")), format!("user{n}").as_bytes());
        }
        assert!(guesses.wait(now, ip("2001:db8::ffff:1"), b"x").is_some());
        assert!(guesses.wait(now, ip("2001:db8:0:1::1"), b"x").is_none());
        assert!(guesses.wait(now, ip("192.0.2.1"), b"x").is_none());
        (0..9).for_each(|_| guesses.failed(now, ip("::ffff:192.0.2.1"), b"y"));
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
            guesses.failed(start, address, &n.to_be_bytes());
        }
        assert_eq!(size(&guesses), before);
        let now = start + seconds(1);
        (0..10).for_each(|_| guesses.failed(now, None, b"levy"));
        assert_eq!(guesses.wait(now, None, b"levy"), Some(seconds(60)));
    }

    #[test]
    fn a_clock_that_stands_before_the_start_does_no_harm() {
        let now = Instant::now();
        let mut guesses = Guesses::new(now + seconds(100));
        (0..20).for_each(|_| guesses.failed(now, None, b"levy"));
        assert!(guesses.wait(now, None, b"levy").is_some());
    }
}
