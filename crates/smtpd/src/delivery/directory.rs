//! What the accounts and the aliases say of a name, in a process that may read them.
//!
//! ```text
//!  levy+tag@red.test    alias or user levy+tag@red.test, else levy+tag
//!                       alias or user levy@red.test, else levy      (--delimiter)
//!                       postmaster: --postmaster, root, the first user
//!                       alias @red.test
//! ```
//! An alias counts before a user of the same name.

use accounts::Account;
use log::Level;
use mailstore::{Aliases, Found};

use crate::delivery::log_once::log_once;
use crate::delivery::users::{Users, own_domain, unreadable};
use crate::options::Config;
use crate::protocol::address::{Name, local_part_utf8};
use crate::protocol::question::Verdict;

/// Start of the name of a list's owner.
const OWNER: &[u8] = b"owner-";

/// What a name is.
#[derive(Debug)]
pub enum Entry {
    /// A user's, and the sub-address.
    User(Account, Vec<u8>),
    /// An alias.
    Alias(Found),
    /// The administrator's, and no line has it.
    Postmaster,
}

/// Accounts and aliases, opened for one question.
#[derive(Debug)]
pub struct Directory<'a> {
    /// The options.
    pub config: &'a Config,
    users: Users<'a>,
    aliases: Option<Aliases>,
}

impl<'a> Directory<'a> {
    /// Opens accounts and aliases.
    ///
    /// # Errors
    /// [`Verdict::Unreadable`]; why, is logged: `users FILE: reason`, `aliases FILE: reason`.
    pub fn open(config: &'a Config) -> Result<Directory<'a>, Verdict> {
        let users = Users::open(config).map_err(|error| unreadable(&error))?;
        let aliases = config.open_aliases().map_err(|error| {
            log_once(Level::Error, error.to_string());
            Verdict::Unreadable
        })?;
        Ok(Directory { config, users, aliases })
    }

    /// Returns whether a domain is one of ours.
    #[must_use]
    pub fn is_ours(&self, domain: &[u8]) -> bool {
        own_domain(self.config, domain).is_some()
    }

    /// Returns the first user, who is postmaster where no name says who is.
    ///
    /// # Errors
    /// [`Verdict::Unreadable`]; why, is logged.
    pub fn first_user(&self) -> Result<Option<Account>, Verdict> {
        self.users.first().map_err(|error| unreadable(&error))
    }

    /// Returns the name of a line of the aliases, for the log.
    #[must_use]
    pub fn line(&self, number: u64) -> String {
        let path = self.aliases.as_ref().map(|aliases| aliases.path().display().to_string());
        format!("aliases {}:{number}", path.unwrap_or_default())
    }

    /// Finds what a name of one of our domains is.
    ///
    /// # Errors
    /// [`Verdict::Unreadable`]; why, is logged.
    pub fn look_up(&self, name: &Name) -> Result<Option<Entry>, Verdict> {
        let own = self.domain(name);
        for (local, extension) in self.forms(&name.local) {
            for domain in [Some(own), None] {
                if let Some(found) = self.alias(local, domain) {
                    return Ok(Some(Entry::Alias(found)));
                }
                if let Some(account) = self.user(local, domain)? {
                    return Ok(Some(Entry::User(account, extension.to_vec())));
                }
            }
        }
        if self.is_postmaster(name) {
            return Ok(Some(Entry::Postmaster));
        }
        Ok(self.alias(b"", Some(own)).map(Entry::Alias))
    }

    /// Returns whether a name is the postmaster's, perhaps with a sub-address.
    #[must_use]
    pub fn is_postmaster(&self, name: &Name) -> bool {
        self.forms(&name.local).any(|(local, _)| is_postmaster(local))
    }

    /// Finds a user, whatever the aliases say, and the sub-address.
    ///
    /// # Errors
    /// [`Verdict::Unreadable`]; why, is logged.
    pub fn user_only(&self, name: &Name) -> Result<Option<(Account, Vec<u8>)>, Verdict> {
        let own = self.domain(name);
        for (local, extension) in self.forms(&name.local) {
            for domain in [Some(own), None] {
                if let Some(account) = self.user(local, domain)? {
                    return Ok(Some((account, extension.to_vec())));
                }
            }
        }
        Ok(None)
    }

    fn alias(&self, local: &[u8], domain: Option<&[u8]>) -> Option<Found> {
        self.aliases.as_ref()?.find(local, domain)
    }

    fn user(&self, local: &[u8], domain: Option<&[u8]>) -> Result<Option<Account>, Verdict> {
        self.users.find(local, domain).map_err(|error| unreadable(&error))
    }

    /// Returns the domain of ours that a name has, as [`own_domain`].
    #[must_use]
    pub fn domain(&self, name: &Name) -> &'a [u8] {
        own_domain(self.config, &name.domain).unwrap_or_default().as_bytes()
    }

    /// Returns a local part, and then what it is without its sub-address, and that.
    fn forms<'n>(&self, local: &'n [u8]) -> impl Iterator<Item = (&'n [u8], &'n [u8])> + use<'n> {
        let cut = self.config.delimiter.and_then(|delimiter| cut(local, delimiter));
        [(local, &b""[..])].into_iter().chain(cut)
    }

    /// Returns the address of a list's owner, who gets what is returned to it.
    #[must_use]
    pub fn owner_of(&self, name: &Name) -> Option<String> {
        let own = self.domain(name);
        let forms = self.forms(&name.local).filter(|(local, _)| !is_owners(local));
        let mut owners = forms.map(|(local, _)| [OWNER, local].concat());
        let is_there = |owner: &Vec<u8>| {
            self.alias(owner, Some(own)).or_else(|| self.alias(owner, None)).is_some()
        };
        let owner = owners.find(is_there)?;
        Some(format!("{}@{}", local_part_utf8(&owner), own.escape_ascii()))
    }
}

/// Splits a local part at the first delimiter. With `-` the names of lists' owners, and of requests to lists, are
/// whole, because they are addresses of their own.
fn cut(local: &[u8], delimiter: u8) -> Option<(&[u8], &[u8])> {
    let at = local.iter().position(|&byte| byte == delimiter).filter(|at| *at > 0)?;
    let is_lists = is_owners(local) || local.to_ascii_lowercase().ends_with(b"-request");
    let is_whole = delimiter == b'-' && is_lists;
    if is_whole { None } else { Some((local.get(..at)?, local.get(at + 1..)?)) }
}

fn is_owners(local: &[u8]) -> bool {
    local.get(..OWNER.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWNER))
}

/// Returns whether a local part is the postmaster's, whose case does not count (RFC 5321 §4.5.1).
#[must_use]
pub fn is_postmaster(local: &[u8]) -> bool {
    local.eq_ignore_ascii_case(b"postmaster")
}
