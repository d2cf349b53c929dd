//! Finds users by their addresses, in a process that may read the accounts.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use accounts::{Account, Accounts, NameDomain};
use dns::to_ascii;
use log::Level;
use nix::ifaddrs::getifaddrs;

use crate::delivery::log_once::log_once;
use crate::options::Config;
use crate::protocol::address::{local_part_utf8, printable};
use crate::protocol::literal::parse_ip_literal;
use crate::protocol::lookup::LocalUser;
use crate::protocol::question::{MAX_LISTED, Verdict};

/// Searches through the accounts before they are read into memory, a number: each reads all of them, and a group
/// has many members.
const MAX_SEARCHES: u32 = 32;

/// The accounts, opened for one question.
#[derive(Debug)]
pub struct Users<'a> {
    config: &'a Config,
    accounts: Accounts,
    searches: Cell<u32>,
    /// All of them by their names in canonical form, after [`MAX_SEARCHES`].
    all: OnceCell<HashMap<Vec<u8>, Account>>,
}

impl<'a> Users<'a> {
    /// Opens the accounts.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn open(config: &'a Config) -> accounts::Result<Users<'a>> {
        let (searches, all) = (Cell::new(0), OnceCell::new());
        Ok(Users { config, accounts: config.mail.accounts()?, searches, all })
    }

    /// Finds the user whose name is this local part with this domain; without one, the user who has it in all
    /// of our domains. `%`, `!` and `@` in a local part are ordinary characters and never denote a domain.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub fn find(&self, local: &[u8], domain: Option<&[u8]>) -> accounts::Result<Option<Account>> {
        let keeps_domains = self.accounts.names.domain == NameDomain::Keep;
        match domain {
            Some(domain) if keeps_domains => {
                match self.account(&[local, b"@", domain].concat())? {
                    None if is_encoded(domain) => self.by_domain_in_utf8(local, domain),
                    found => Ok(found),
                }
            }
            None if !local.contains(&b'@') => self.account(local),
            _ => Ok(None),
        }
    }

    /// Finds the user whose domain the accounts spell in UTF-8; `domain` is that in ASCII.
    fn by_domain_in_utf8(&self, local: &[u8], domain: &[u8]) -> accounts::Result<Option<Account>> {
        let (names, mut found) = (self.accounts.names, None);
        self.accounts.scan(|account| {
            let at = account.name.iter().rposition(|&byte| byte == b'@');
            let spelled = at.and_then(|at| account.name.get(at + 1..)).unwrap_or_default();
            let is_it = !spelled.is_ascii()
                && to_ascii(spelled).eq_ignore_ascii_case(domain)
                && names.is_same(&[local, b"@", spelled].concat(), &account.name);
            if is_it {
                found = Some(account);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn account(&self, name: &[u8]) -> accounts::Result<Option<Account>> {
        let searches = self.searches.get();
        if searches < MAX_SEARCHES {
            self.searches.set(searches + 1);
            return self.accounts.account(name);
        }
        let Some(canonical) = self.accounts.names.canonical(name) else { return Ok(None) };
        if self.all.get().is_none() {
            let mut all = HashMap::new();
            self.accounts.scan(|account| {
                all.entry(account.name.clone()).or_insert(account); // the first line counts
                ControlFlow::Continue(())
            })?;
            self.all.get_or_init(|| all);
        }
        Ok(self.all.get().and_then(|all| all.get(&canonical)).cloned())
    }

    /// Returns the user who gets the postmaster's letters when no name says who does: the first.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub fn first(&self) -> accounts::Result<Option<Account>> {
        let mut found = None;
        self.accounts.scan(|account| {
            found = Some(account);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Finds up to `MAX_LISTED` + 1 users by a full name, or by a word of it.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub fn by_full_name(&self, name: &[u8]) -> accounts::Result<Vec<LocalUser>> {
        let mut found = Vec::new();
        self.accounts.scan(|account| {
            if has_full_name(&account, name) {
                found.push(local_user(self.config, &account));
            }
            if found.len() > MAX_LISTED {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }
}

/// Returns what VRFY tells of a user.
#[must_use]
pub fn local_user(config: &Config, account: &Account) -> LocalUser {
    let name = &account.name;
    let at = name.iter().rposition(|&byte| byte == b'@');
    let parts = at.and_then(|at| Some((name.get(..at)?, name.get(at + 1..)?)));
    let address = match parts {
        Some((local, domain)) if is_configured(config, &to_ascii(domain)) => {
            format!("{}@{}", local_part_utf8(local), printable(domain))
        }
        _ => format!("{}@{}", local_part_utf8(name), config.first_domain()),
    };
    LocalUser { full_name: full_name(account).to_vec(), address: address.into_bytes() }
}

/// Returns whether a domain has a label that is not in ASCII but encoded (RFC 5890 §2.3.2.1).
fn is_encoded(domain: &[u8]) -> bool {
    let prefix = |label: &[u8]| label.get(..4).is_some_and(|it| it.eq_ignore_ascii_case(b"xn--"));
    domain.split(|&byte| byte == b'.').any(prefix)
}

/// Returns the first of the comma-separated parts of the gecos field.
fn full_name(account: &Account) -> &[u8] {
    account.gecos.split(|&b| b == b',').next().unwrap_or_default().trim_ascii()
}

/// Returns whether the full name, or one of its words, is `wanted`, ignoring case.
fn has_full_name(account: &Account, wanted: &[u8]) -> bool {
    let full = full_name(account);
    let mut words = full.split(|&b| b == b' ');
    full.eq_ignore_ascii_case(wanted) || words.any(|word| word.eq_ignore_ascii_case(wanted))
}

/// Returns our domain that an address has: as `--domain` spells it, and the first for `localhost`, for an address
/// literal of this host (RFC 1123 §5.2.17) and for none. `None` for a domain elsewhere.
#[must_use]
pub fn own_domain<'c>(config: &'c Config, domain: &[u8]) -> Option<&'c str> {
    let own = config.domains.iter().find(|own| own.as_bytes().eq_ignore_ascii_case(domain));
    let is_ours = || {
        domain.is_empty()
            || is_configured(config, domain)
            || parse_ip_literal(domain).is_some_and(is_own_address)
    };
    own.map(String::as_str).or_else(|| is_ours().then(|| config.first_domain()))
}

/// Returns whether a domain is one of `--domain`, or `localhost`.
#[must_use]
pub fn is_configured(config: &Config, domain: &[u8]) -> bool {
    config.domains.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(domain))
        || domain.eq_ignore_ascii_case(b"localhost")
}

fn is_own_address(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let Ok(interfaces) = getifaddrs() else { return ip.is_loopback() };
    ip.is_loopback()
        || interfaces.filter_map(|interface| interface.address).any(|own| {
            own.as_sockaddr_in().is_some_and(|v4| IpAddr::V4(v4.ip()) == ip)
                || own.as_sockaddr_in6().is_some_and(|v6| IpAddr::V6(v6.ip()) == ip)
        })
}

/// Logs why the accounts cannot be read.
pub(super) fn unreadable(error: &accounts::Error) -> Verdict {
    log_once(Level::Error, error.to_string());
    Verdict::Unreadable
}
