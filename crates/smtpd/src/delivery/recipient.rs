//! Finds recipients: the local domains and the users file.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use mailstore::accounts::{User, Users};
use nix::ifaddrs::getifaddrs;

use crate::delivery::space::has_room;
use crate::options::Config;
use crate::protocol::address::{self, Mailbox, Path, parse_ip_literal};
use crate::protocol::envelope::Recipient;
use crate::protocol::lookup::{LocalUser, UserLookup};
use crate::protocol::reply::Reply;

/// Looks up users in the users file, which is read again each time.
#[derive(Debug)]
pub struct UsersFile<'a> {
    config: &'a Config,
}

impl<'a> UsersFile<'a> {
    /// Uses the users file of `config`.
    #[must_use]
    pub fn new(config: &'a Config) -> UsersFile<'a> {
        UsersFile { config }
    }

    /// Finds the user of an address.
    ///
    /// Looks for the local part as written, then in lower case, so that the slides'
    /// `LEVY@RED.RUTGERS.EDU` is levy. `postmaster` always exists (RFC 5321 §4.5.1). `%` and `!`
    /// are ordinary characters and never denote another host.
    fn user(&self, path: &Path) -> Result<User, Reply> {
        let users = Users::open(&self.config.users).map_err(|e| unavailable(&e))?;
        let (local, found) = match path {
            Path::Null => return Err(Reply::new(501, "5.1.3", "A recipient needs a name")),
            Path::Name(name) => (name, by_name(&users, name)?),
            Path::Mailbox(mailbox) if !is_local(self.config, mailbox) => {
                let text = "Not a domain of ours, and no relaying here";
                return Err(Reply::new(550, "5.7.1", text));
            }
            Path::Mailbox(mailbox) => (&mailbox.local, by_name(&users, &mailbox.local)?),
        };
        let found = match found {
            None if local.eq_ignore_ascii_case(b"postmaster") => self.postmaster(&users)?,
            other => other,
        };
        found.ok_or_else(|| Reply::new(550, "5.1.1", "No such user here"))
    }

    /// Returns the user of `--postmaster`, otherwise root, otherwise the first user of the file.
    fn postmaster(&self, users: &Users) -> Result<Option<User>, Reply> {
        let name = self.config.postmaster.as_deref().unwrap_or("root");
        match by_name(users, name.as_bytes())? {
            Some(user) => Ok(Some(user)),
            None => first(users).map_err(|e| unavailable(&e)),
        }
    }

    /// Returns the Maildir of the first user of the file.
    fn first_maildir(&self) -> Option<PathBuf> {
        let users = Users::open(&self.config.users).ok()?;
        self.config.mail.maildir(&first(&users).ok()??).ok()
    }
}

impl UserLookup for UsersFile<'_> {
    fn find(&self, path: &Path) -> Result<LocalUser, Reply> {
        self.user(path).map(local_user)
    }

    fn find_by_full_name(&self, name: &[u8], max: usize) -> Result<Vec<LocalUser>, Reply> {
        let mut found = Vec::new();
        let scanned = Users::open(&self.config.users).and_then(|users| {
            users.scan(|user| {
                if has_full_name(&user, name) {
                    found.push(local_user(user));
                }
                if found.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        });
        scanned.map_err(|e| unavailable(&e))?;
        Ok(found)
    }

    fn recipient(&self, path: &Path) -> Result<Recipient, Reply> {
        let user = self.user(path)?;
        let maildir = self.config.mail.maildir(&user).map_err(|error| {
            log::error!("{error}");
            Reply::new(451, "4.3.0", "The mailbox cannot be used now, try again later")
        })?;
        let address = match path {
            Path::Mailbox(mailbox) => mailbox.text.clone(),
            _ => format!("{}@{}", address::local_part(&user.name), self.config.hostname),
        };
        Ok(Recipient { user: user.name.escape_ascii().to_string(), address, maildir })
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.first_maildir().is_none_or(|maildir| has_room(&maildir, bytes))
    }

    fn has_room_for(&self, recipient: &Recipient, bytes: u64) -> bool {
        has_room(&recipient.maildir, bytes)
    }
}

/// Logs why the users file cannot be read, and returns the reply.
fn unavailable(error: &mailstore::Error) -> Reply {
    log::error!("{error}");
    Reply::new(451, "4.3.0", "The list of users cannot be read now, try again later")
}

fn by_name(users: &Users, name: &[u8]) -> Result<Option<User>, Reply> {
    let exact = users.find(name).map_err(|e| unavailable(&e))?;
    let lower = name.to_ascii_lowercase();
    if exact.is_some() || lower == name {
        return Ok(exact);
    }
    users.find(&lower).map_err(|e| unavailable(&e))
}

fn first(users: &Users) -> mailstore::Result<Option<User>> {
    let mut found = None;
    users.scan(|user| {
        found = Some(user);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

fn local_user(user: User) -> LocalUser {
    LocalUser { full_name: full_name(&user).to_vec(), name: user.name }
}

/// Returns the first of the comma-separated parts of the gecos field.
fn full_name(user: &User) -> &[u8] {
    user.gecos.split(|&b| b == b',').next().unwrap_or_default().trim_ascii()
}

/// Returns whether the full name, or one of its words, is `wanted`, ignoring case.
fn has_full_name(user: &User, wanted: &[u8]) -> bool {
    let full = full_name(user);
    let mut words = full.split(|&b| b == b' ');
    full.eq_ignore_ascii_case(wanted) || words.any(|word| word.eq_ignore_ascii_case(wanted))
}

/// Returns whether a domain is local: those of `--domain`, `localhost`, and address literals of
/// this host (RFC 1123 §5.2.17).
fn is_local(config: &Config, mailbox: &Mailbox) -> bool {
    let domain = mailbox.domain.as_slice();
    let configured = config.domains.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(domain));
    configured
        || domain.eq_ignore_ascii_case(b"localhost")
        || parse_ip_literal(domain).is_some_and(is_own_address)
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
