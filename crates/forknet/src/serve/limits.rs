//! Limits for each address: clients at a time, and connections per time.
//!
//! The accounts are in memory that no child inherits, so that a child that is taken over can
//! neither raise its limit nor have other clients refused.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use sys::private_memory::Table;

use crate::error::{Error, Result};
use crate::net::peer::Peer;
use crate::options::limits::Rate;

/// Most accounts under `--rate`; beyond that, the least used are evicted. Each takes 56 bytes,
/// allocated when it is first used.
const MAX_ACCOUNTS: usize = 1 << 18;
/// Accounts that are compared to choose one for eviction.
const EVICTION_SAMPLE: usize = 64;

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `--max-clients`: this many clients are served.
    Full(usize),
    /// `--max-per-ip`: this many clients of its address are served.
    PerAddress(usize),
    /// `--rate`: its address has exceeded this rate.
    TooOften(Rate),
    /// `--port-range`: all ports are in use.
    NoPort,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Full(n) => write!(f, "{n} clients are served already"),
            Refusal::PerAddress(n) => write!(f, "{n} clients of this address are served already"),
            Refusal::TooOften(Rate { connections, seconds }) => {
                write!(f, "more than {connections} connections of this address in {seconds} s")
            }
            Refusal::NoPort => f.write_str("no port for the transfer"),
        }
    }
}

/// The account of one address.
#[derive(Clone, Copy, Debug)]
struct Account {
    network: u128,
    clients: u32,
    /// Connections in the current interval of `--rate`.
    connections: u32,
    /// Start of that interval, in milliseconds since the server's start.
    since: u64,
    /// Index of the next account in the same bucket or in the free list, plus one; 0 at the end.
    next: u32,
}

/// The limits for each address: an IPv4 address, or an IPv6 network. Clients without an address are not
/// limited.
#[derive(Debug)]
pub(crate) struct Limits {
    max_per_ip: u32,
    /// Length of an IPv6 network, in bits.
    network_bits: u32,
    rate: Option<Rate>,
    /// Index of the first account of each bucket, plus one; 0 for none.
    buckets: Table<u32>,
    accounts: Table<Account>,
    /// As [`Account::next`].
    free: u32,
    /// The clock hand: where the search for an account to evict continues.
    hand: usize,
    hasher: RandomState,
    epoch: Instant,
}

impl Limits {
    /// Makes the accounts of a server with this many clients.
    pub(crate) fn new(
        clients: usize,
        max_per_ip: usize,
        rate: Option<Rate>,
        network_bits: u32,
    ) -> Result<Limits> {
        let remembered = if rate.is_some() { MAX_ACCOUNTS } else { 0 };
        let limits = Limits::with_room(clients + 1 + remembered, max_per_ip, rate)?;
        Ok(Limits { network_bits, ..limits })
    }

    fn with_room(room: usize, max_per_ip: usize, rate: Option<Rate>) -> Result<Limits> {
        let fail = |_| Error::os("mmap of private memory");
        let buckets = room.next_power_of_two();
        Ok(Limits {
            max_per_ip: u32::try_from(max_per_ip).unwrap_or(u32::MAX),
            network_bits: u128::BITS,
            rate,
            buckets: Table::zeroed(buckets).map_err(|errno| fail(errno)(errno))?,
            accounts: Table::with_room(room).map_err(|errno| fail(errno)(errno))?,
            free: 0,
            hand: 0,
            hasher: RandomState::new(),
            epoch: Instant::now(),
        })
    }

    /// Counts one more client of this address, or returns the limit that it would exceed.
    pub(crate) fn admit(&mut self, peer: Peer) -> std::result::Result<(), Refusal> {
        let Some(network) = self.network(peer) else { return Ok(()) };
        let full = Refusal::PerAddress(self.max_per_ip as usize);
        let (number, mut account) = self.account(network).ok_or(full)?;
        if account.clients >= self.max_per_ip {
            return Err(full);
        }
        if self.is_over(&account) {
            (account.since, account.connections) = (self.now(), 0);
        }
        if let Some(rate) = self.rate.filter(|rate| account.connections >= rate.connections) {
            return Err(Refusal::TooOften(rate));
        }
        account.clients += 1;
        account.connections += 1;
        self.accounts.set(number, account);
        Ok(())
    }

    /// Stops counting an admitted client of this address.
    pub(crate) fn release(&mut self, peer: Peer) {
        let Some((number, mut account)) = self.network(peer).and_then(|network| self.find(network))
        else {
            return;
        };
        account.clients = account.clients.saturating_sub(1);
        self.accounts.set(number, account);
        if account.clients == 0 && self.is_over(&account) {
            self.evict(number);
        }
    }

    /// Returns the address or network that is limited as one.
    fn network(&self, peer: Peer) -> Option<u128> {
        if peer.is_proxy() {
            return None; // its clients count
        }
        let host_bits = u128::BITS - self.network_bits.clamp(1, u128::BITS);
        match peer.ip()? {
            IpAddr::V4(v4) => Some(u128::from(v4.to_ipv6_mapped())),
            IpAddr::V6(v6) => Some(u128::from(v6) >> host_bits << host_bits),
        }
    }

    /// Returns true when the account's interval has ended; always without `--rate`.
    fn is_over(&self, account: &Account) -> bool {
        self.rate.is_none_or(|rate| self.now() >= account.since + u64::from(rate.seconds) * 1000)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn bucket(&self, network: u128) -> usize {
        let hash = self.hasher.hash_one(network);
        usize::try_from(hash % self.buckets.len().max(1) as u64).unwrap_or_default()
    }

    fn find(&self, network: u128) -> Option<(usize, Account)> {
        let mut next = self.buckets.get(self.bucket(network))?;
        loop {
            let number = index(next)?;
            let account = self.accounts.get(number)?;
            if account.network == network {
                return Some((number, account));
            }
            next = account.next;
        }
    }

    /// Returns the account of an address, or a new one.
    fn account(&mut self, network: u128) -> Option<(usize, Account)> {
        if let Some(found) = self.find(network) {
            return Some(found);
        }
        let bucket = self.bucket(network);
        let next = self.buckets.get(bucket)?;
        let account = Account { network, clients: 0, connections: 0, since: self.now(), next };
        let number = self.store(account)?;
        // An eviction may have changed the bucket.
        let account = Account { next: self.buckets.get(bucket)?, ..account };
        self.accounts.set(number, account);
        self.buckets.set(bucket, link(number));
        Some((number, account))
    }

    /// Stores an account in a free entry, or evicts another one.
    fn store(&mut self, account: Account) -> Option<usize> {
        if self.free == 0 {
            if let Some(number) = self.accounts.push(account) {
                return Some(number);
            }
            let oldest = self.least_used()?;
            self.evict(oldest);
        }
        let number = index(self.free)?;
        self.free = self.accounts.get(number)?.next;
        self.accounts.set(number, account).then_some(number)
    }

    /// Chooses one of the next accounts without clients: one whose interval has ended, or the one
    /// with the fewest connections.
    fn least_used(&mut self) -> Option<usize> {
        let count = self.accounts.len();
        for begin in (0..count).step_by(EVICTION_SAMPLE) {
            let numbers =
                (begin..(begin + EVICTION_SAMPLE).min(count)).map(|n| (self.hand + n) % count);
            let accounts = numbers.filter_map(|n| Some((n, self.accounts.get(n)?)));
            let unused = accounts.filter(|(_, account)| account.clients == 0);
            let least = unused.min_by_key(|(_, a)| (!self.is_over(a), a.connections, a.since));
            if let Some((number, _)) = least {
                self.hand = (self.hand + begin + EVICTION_SAMPLE) % count;
                return Some(number);
            }
        }
        None
    }

    /// Moves an account from its bucket to the free list.
    fn evict(&mut self, number: usize) {
        let Some(account) = self.accounts.get(number) else { return };
        let bucket = self.bucket(account.network);
        let first = self.buckets.get(bucket).unwrap_or_default();
        if index(first) == Some(number) {
            self.buckets.set(bucket, account.next);
        } else {
            let mut at = index(first);
            while let Some((before, mut other)) = at.and_then(|n| Some((n, self.accounts.get(n)?)))
            {
                if index(other.next) == Some(number) {
                    other.next = account.next;
                    self.accounts.set(before, other);
                    break;
                }
                at = index(other.next);
            }
        }
        self.accounts.set(number, Account { network: 0, next: self.free, ..account });
        self.free = link(number);
    }
}

/// Returns the value of [`Account::next`] for an index.
fn link(number: usize) -> u32 {
    u32::try_from(number + 1).unwrap_or_default()
}

fn index(link: u32) -> Option<usize> {
    usize::try_from(link).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn limits(max_per_ip: usize, rate: Option<&str>) -> Limits {
        Limits::with_room(64, max_per_ip, rate.map(|text| text.parse().unwrap())).unwrap()
    }

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    fn passing(number: u32) -> Peer {
        Peer::Ip((Ipv4Addr::from(number), 1).into())
    }

    #[test]
    fn each_address_has_its_own_limit_and_a_released_client_frees_it() {
        let mut limits = limits(2, None);
        let (one, other) = (peer("127.0.0.1:5"), peer("127.0.0.2:5"));
        assert_eq!(limits.admit(one), Ok(()));
        assert_eq!(limits.admit(peer("127.0.0.1:6")), Ok(()));
        assert_eq!(limits.admit(one), Err(Refusal::PerAddress(2)));
        assert_eq!(limits.admit(other), Ok(()));
        limits.release(one);
        assert_eq!(limits.admit(one), Ok(()));
        for _ in 0..9 {
            assert_eq!(limits.admit(Peer::Unix), Ok(()));
            assert_eq!(limits.admit(Peer::Proxy(Some("127.0.0.1:5".parse().unwrap()))), Ok(()));
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let mut limits = Limits::new(9, 1, None, 64).unwrap();
        assert_eq!(limits.admit(peer("[2001:db8::1]:5")), Ok(()));
        assert_eq!(limits.admit(peer("[2001:db8::2]:5")), Err(Refusal::PerAddress(1)));
        assert_eq!(limits.admit(peer("[2001:db8:0:1::1]:5")), Ok(()));
        let mut limits = Limits::new(9, 1, None, 128).unwrap();
        assert_eq!(limits.admit(peer("[2001:db8::1]:5")), Ok(()));
        assert_eq!(limits.admit(peer("[2001:db8::2]:5")), Ok(()));
        assert_eq!(limits.admit(peer("[2001:db8::2]:6")), Err(Refusal::PerAddress(1)));
    }

    #[test]
    fn an_address_over_the_rate_is_refused_and_others_are_not() {
        let mut limits = limits(9, Some("2/3600"));
        let one = peer("10.0.0.1:5");
        assert_eq!(limits.admit(one), Ok(()));
        limits.release(one);
        assert_eq!(limits.admit(one), Ok(()));
        limits.release(one);
        assert!(matches!(limits.admit(one), Err(Refusal::TooOften(_))));
        assert_eq!(limits.admit(peer("10.0.0.2:5")), Ok(()));
    }

    #[test]
    fn the_interval_of_a_rate_passes() {
        let mut limits = limits(9, Some("1/2"));
        let one = peer("10.0.0.1:5");
        assert_eq!(limits.admit(one), Ok(()));
        assert!(matches!(limits.admit(one), Err(Refusal::TooOften(_))));
        limits.epoch -= std::time::Duration::from_secs(2);
        assert_eq!(limits.admit(one), Ok(()));
        assert!(matches!(limits.admit(one), Err(Refusal::TooOften(_))));
    }

    #[test]
    fn more_addresses_than_accounts_never_evict_one_with_clients() {
        let mut limits = limits(1, None);
        let stays = peer("10.9.9.9:1");
        assert_eq!(limits.admit(stays), Ok(()));
        for n in 0..5000 {
            assert_eq!(limits.admit(passing(n)), Ok(()));
            limits.release(passing(n));
        }
        assert_eq!(limits.admit(stays), Err(Refusal::PerAddress(1)));
    }

    #[test]
    fn addresses_with_one_connection_do_not_evict_one_over_the_rate() {
        let mut limits = limits(9, Some("3/3600"));
        let often = peer("10.9.9.9:1");
        for _ in 0..3 {
            assert_eq!(limits.admit(often), Ok(()));
            limits.release(often);
        }
        for n in 0..5000 {
            assert_eq!(limits.admit(passing(n)), Ok(()));
            limits.release(passing(n));
        }
        assert!(matches!(limits.admit(often), Err(Refusal::TooOften(_))));
        assert_eq!(limits.accounts.len(), 64);
    }

    #[test]
    fn under_a_rate_a_hundred_thousand_addresses_are_remembered() {
        let rate = "1/3600".parse().unwrap();
        let mut limits = Limits::new(256, 9, Some(rate), 64).unwrap();
        for n in 0..100_000 {
            assert_eq!(limits.admit(passing(n)), Ok(()));
            limits.release(passing(n));
        }
        for n in (0..100_000).step_by(997) {
            assert!(matches!(limits.admit(passing(n)), Err(Refusal::TooOften(_))), "{n}");
        }
    }

    #[test]
    fn accounts_are_added_and_evicted_in_any_order_and_none_is_lost() {
        let mut limits = limits(2, None);
        let mut held: Vec<u32> = Vec::new();
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let address = random >> 24 & 31;
            if held.iter().filter(|h| **h == address).count() < 2 {
                assert_eq!(limits.admit(passing(address)), Ok(()));
                held.push(address);
            } else {
                assert_eq!(limits.admit(passing(address)), Err(Refusal::PerAddress(2)));
                let gone = held.swap_remove(random as usize % held.len());
                limits.release(passing(gone));
            }
        }
    }
}
