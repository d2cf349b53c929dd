//! Finds users by their addresses, in a process that may read the accounts.

use std::net::IpAddr;
use std::ops::ControlFlow;

use accounts::{Account, Accounts, NameDomain};
use nix::ifaddrs::getifaddrs;

use crate::options::Config;
use crate::protocol::address::Name;
use crate::protocol::literal::parse_ip_literal;
use crate::protocol::lookup::LocalUser;
use crate::protocol::question::{MAX_LISTED, Verdict};

/// The accounts, opened for one question.
#[derive(Debug)]
pub struct Users<'a> {
    config: &'a Config,
    accounts: Accounts,
}

impl<'a> Users<'a> {
    /// Opens the accounts.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn open(config: &'a Config) -> accounts::Result<Users<'a>> {
        Ok(Users { config, accounts: config.mail.accounts()? })
    }

    /// Finds the user of an address: by all of it where an account has such a name, else by its local
    /// part. `postmaster` always exists (RFC 5321 §4.5.1). `%` and `!` are ordinary characters and
    /// never denote another host.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub fn find(&self, name: &Name) -> accounts::Result<Result<Account, Verdict>> {
        if !name.domain.is_empty() && !is_local(self.config, &name.domain) {
            return Ok(Err(Verdict::Elsewhere));
        }
        let found = match self.by_address(name)? {
            None if name.local.eq_ignore_ascii_case(b"postmaster") => self.postmaster()?,
            other => other,
        };
        Ok(found.ok_or(Verdict::Unknown))
    }

    fn by_address(&self, name: &Name) -> accounts::Result<Option<Account>> {
        let keeps = self.accounts.names.domain == NameDomain::Keep;
        if keeps && !name.domain.is_empty() {
            let whole = [&name.local[..], b"@", &name.domain].concat();
            if let Some(account) = self.accounts.account(&whole)? {
                return Ok(Some(account));
            }
        }
        self.accounts.account(&name.local)
    }

    /// Returns the user of `--postmaster`, otherwise root, otherwise the first user of the file.
    fn postmaster(&self) -> accounts::Result<Option<Account>> {
        let name = self.config.postmaster.as_deref().unwrap_or("root");
        match self.accounts.account(name.as_bytes())? {
            Some(user) => Ok(Some(user)),
            None => self.first(),
        }
    }

    /// Returns the first user.
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
                found.push(local_user(account));
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
pub fn local_user(account: Account) -> LocalUser {
    LocalUser { full_name: full_name(&account).to_vec(), name: account.name }
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

/// Returns whether a domain is local: those of `--domain`, `localhost`, and address literals of
/// this host (RFC 1123 §5.2.17).
fn is_local(config: &Config, domain: &[u8]) -> bool {
    is_configured(config, domain) || parse_ip_literal(domain).is_some_and(is_own_address)
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
    log::error!("{error}");
    Verdict::Unreadable
}
