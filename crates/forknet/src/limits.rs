//! How many clients one address may have, and how often it may come.
//!
//! The counts lie in memory that parent and children share: prefork workers accept by themselves,
//! and yet count together. There is no lock that a killed worker could take along.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::accept::Peer;
use crate::error::Result;
use crate::options::ServerOptions;
use crate::shared::{self, Shared};

/// Addresses that are remembered at least; `--max-clients` may ask for more.
const MIN_ACCOUNTS: usize = 4096;
/// So many accounts may be one behind the other where an address is looked for. At most a quarter
/// of the table is in use, so a longer row is all but impossible.
const PROBES: usize = 32;
/// An account's word holds the clients in its low bits and the address's hash above.
const CLIENTS_BITS: u32 = 24;
const CLIENTS: u64 = (1 << CLIENTS_BITS) - 1;

/// What a client over the limit of clients meets with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// It is told so, in the protocol's own words.
    #[default]
    Busy,
    /// It waits in the backlog until there is a place.
    Queue,
}

impl FromStr for Over {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Over, &'static str> {
        match text {
            "busy" => Ok(Over::Busy),
            "queue" => Ok(Over::Queue),
            _ => Err("not busy or queue"),
        }
    }
}

/// `N/S`: so many connections of one address in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Connections, 1 to 1,000,000.
    pub connections: u32,
    /// Within this time, up to a day, counted from the first of them.
    pub seconds: u32,
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Rate, &'static str> {
        let numbers =
            text.split_once('/').and_then(|(n, s)| Some((n.parse().ok()?, s.parse().ok()?)));
        match numbers {
            Some((connections @ 1..=1_000_000, seconds @ 1..=86_400)) => {
                Ok(Rate { connections, seconds })
            }
            _ => Err("not N/S, connections from 1 to 1000000 in 1 to 86400 seconds"),
        }
    }
}

/// Why a client is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `--max-clients`: so many are served.
    Full(usize),
    /// `--max-per-ip`: so many of its address are.
    PerAddress(usize),
    /// `--rate`: it comes too often.
    TooOften(Rate),
    /// `--port-range`: all ports are taken.
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

/// What is known about one address. The second word is the instant when the counted time began,
/// in milliseconds, above the connections since then.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Account {
    /// Hash of the address, and its clients; 0 where nobody has been yet.
    who: AtomicU64,
    window: AtomicU64,
}

// SAFETY: two atomics, zero is an account of nobody.
unsafe impl Shared for Account {}

/// How many accounts there are.
fn accounts(clients: usize) -> usize {
    clients.saturating_mul(4).max(MIN_ACCOUNTS).next_power_of_two()
}

/// The limits for each address: an IPv4 address, or an IPv6 network of 64 bits, since whoever has
/// one address of that has them all. Clients without an address are not limited.
#[derive(Debug)]
pub(crate) struct Limits {
    max_per_ip: u64,
    rate: Option<Rate>,
    accounts: &'static [Account],
    hasher: RandomState,
    epoch: Instant,
}

impl Limits {
    /// Octets of shared memory that the accounts take.
    pub(crate) fn room(clients: usize) -> usize {
        shared::room_of::<Account>(accounts(clients))
    }

    pub(crate) fn new(options: &ServerOptions) -> Result<Limits> {
        let size = accounts(options.max_clients);
        Ok(Limits {
            max_per_ip: options.max_per_ip as u64,
            rate: options.rate,
            accounts: shared::zeroed(size)?,
            hasher: RandomState::new(),
            epoch: Instant::now(),
        })
    }

    /// Counts one more client of this address, or says why it is one too many.
    pub(crate) fn admit(&self, peer: Peer) -> std::result::Result<(), Refusal> {
        let Some(key) = self.key(peer) else { return Ok(()) };
        let full = Refusal::PerAddress(self.max_per_ip as usize);
        loop {
            let (account, who) = self.account(key).ok_or(full)?;
            let clients = if who & !CLIENTS == key { who & CLIENTS } else { 0 };
            if clients >= self.max_per_ip {
                return Err(full);
            }
            let is_known = who & !CLIENTS == key;
            if is_known && let Some(rate) = self.rate.filter(|rate| !self.has_time(account, *rate))
            {
                return Err(Refusal::TooOften(rate));
            }
            let counted = account.who.compare_exchange(who, key | (clients + 1), Relaxed, Relaxed);
            if counted.is_ok() {
                self.count(account, is_known);
                return Ok(());
            }
        }
    }

    /// A client of this address, which was admitted, is gone.
    pub(crate) fn leave(&self, peer: Peer) {
        let Some(key) = self.key(peer) else { return };
        let its = |account: &&Account| account.who.load(Relaxed) & !CLIENTS == key;
        let Some(account) = self.row(key).find(its) else { return };
        let less = |who| (who & !CLIENTS == key && who & CLIENTS > 0).then(|| who - 1);
        let _gone = account.who.fetch_update(Relaxed, Relaxed, less);
    }

    /// The high bits of the address's hash; never 0.
    fn key(&self, peer: Peer) -> Option<u64> {
        let network = match peer.ip()? {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64 | 1 << 63,
        };
        Some(self.hasher.hash_one(network) & !CLIENTS | 1 << CLIENTS_BITS)
    }

    /// Where the account of an address may stand.
    fn row(&self, key: u64) -> impl Iterator<Item = &'static Account> + use<> {
        let (accounts, start) = (self.accounts, (key >> CLIENTS_BITS) as usize);
        (start..start + PROBES).filter_map(|at| accounts.get(at % accounts.len()))
    }

    /// The account of an address, or the one to be given to it: nobody's, else the one whose last
    /// client came longest ago; with the word that it holds now.
    fn account(&self, key: u64) -> Option<(&'static Account, u64)> {
        let row = || self.row(key).map(|account| (account, account.who.load(Relaxed)));
        if let Some(known) = row().find(|(_, who)| who & !CLIENTS == key) {
            return Some(known);
        }
        let free = row().filter(|(_, who)| who & CLIENTS == 0);
        free.min_by_key(|(account, who)| (*who != 0, account.window.load(Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX) & u64::MAX >> 20
    }

    /// True when the address may make one more connection in the time that is running.
    fn has_time(&self, account: &Account, rate: Rate) -> bool {
        let window = account.window.load(Relaxed);
        let over = self.now() >= (window >> 20) + u64::from(rate.seconds) * 1000;
        over || (window & 0xf_ffff) < u64::from(rate.connections)
    }

    /// Notes a connection. `known`: in the time that is running, unless that is over.
    fn count(&self, account: &Account, known: bool) {
        let now = self.now();
        let length = self.rate.map_or(0, |rate| u64::from(rate.seconds) * 1000);
        let more = |window: u64| {
            let runs = known && now < (window >> 20) + length;
            Some(if runs { window + 1 } else { now << 20 | 1 })
        };
        let _noted = account.window.fetch_update(Relaxed, Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_per_ip: u64, rate: Option<&str>) -> Limits {
        Limits {
            max_per_ip,
            rate: rate.map(|text| text.parse().unwrap()),
            accounts: shared::zeroed(64).unwrap(),
            hasher: RandomState::new(),
            epoch: Instant::now(),
        }
    }

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    #[test]
    fn the_limit_is_each_addresss_own_and_a_place_is_free_again() {
        let limits = limits(2, None);
        let (one, other) = (peer("127.0.0.1:5"), peer("127.0.0.2:5"));
        assert_eq!(limits.admit(one), Ok(()));
        assert_eq!(limits.admit(peer("127.0.0.1:6")), Ok(()));
        assert_eq!(limits.admit(one), Err(Refusal::PerAddress(2)));
        assert_eq!(limits.admit(other), Ok(()));
        limits.leave(one);
        assert_eq!(limits.admit(one), Ok(()));
        for _ in 0..9 {
            assert_eq!(limits.admit(Peer::Unix), Ok(()));
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let limits = limits(1, None);
        assert_eq!(limits.admit(peer("[2001:db8::1]:5")), Ok(()));
        assert_eq!(limits.admit(peer("[2001:db8::2]:5")), Err(Refusal::PerAddress(1)));
        assert_eq!(limits.admit(peer("[2001:db8:0:1::1]:5")), Ok(()));
    }

    #[test]
    fn an_address_that_comes_too_often_is_told_apart_from_others() {
        let limits = limits(9, Some("2/3600"));
        let one = peer("10.0.0.1:5");
        assert_eq!(limits.admit(one), Ok(()));
        limits.leave(one);
        assert_eq!(limits.admit(one), Ok(()));
        limits.leave(one);
        assert!(matches!(limits.admit(one), Err(Refusal::TooOften(_))));
        assert_eq!(limits.admit(peer("10.0.0.2:5")), Ok(()));
    }

    #[test]
    fn the_time_of_a_rate_passes() {
        let mut limits = limits(9, Some("1/2"));
        let one = peer("10.0.0.1:5");
        assert_eq!(limits.admit(one), Ok(()));
        assert!(matches!(limits.admit(one), Err(Refusal::TooOften(_))));
        limits.epoch -= std::time::Duration::from_secs(2);
        assert_eq!(limits.admit(one), Ok(()));
        assert!(matches!(limits.admit(one), Err(Refusal::TooOften(_))));
    }

    #[test]
    fn more_addresses_than_accounts_forget_the_oldest_and_never_a_client() {
        let limits = limits(1, None);
        let stays = peer("10.9.9.9:1");
        assert_eq!(limits.admit(stays), Ok(()));
        for n in 0..5000_u32 {
            let passing = Peer::Ip((std::net::Ipv4Addr::from(n), 1).into());
            assert_eq!(limits.admit(passing), Ok(()));
            limits.leave(passing);
        }
        assert_eq!(limits.admit(stays), Err(Refusal::PerAddress(1)));
    }

    #[test]
    fn a_rate_is_two_numbers() {
        assert_eq!("5/60".parse(), Ok(Rate { connections: 5, seconds: 60 }));
        for text in ["5", "5/", "/5", "0/5", "5/0", "a/b", "5/86401", "-1/5", "1000001/5"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
