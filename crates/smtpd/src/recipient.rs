//! Who is a recipient here: the local domains and the users file.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use mailstore::{User, Users};
use nix::ifaddrs::getifaddrs;

use crate::address::{self, Mailbox, Path, literal_ip};
use crate::options::Config;
use crate::reply::Reply;

/// A user who gets the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The name in the users file, printable, for the log.
    pub user: String,
    /// The address of the RCPT command.
    pub address: String,
    /// Where the letter goes.
    pub maildir: PathBuf,
}

/// Finds the user that an address of RCPT or VRFY means.
///
/// The local part counts as written; where nobody is called so, in small letters, so that the
/// slides' `LEVY@RED.RUTGERS.EDU` is levy. `postmaster` always is somebody (RFC 5321 §4.5.1). `%`
/// and `!` in it are letters like any others: they never mean another machine.
///
/// # Errors
/// The reply for the client: 501, 550 or 451.
pub fn find(config: &Config, path: &Path) -> Result<User, Reply> {
    let users = Users::open(&config.users).map_err(|e| unavailable(&e))?;
    let (local, found) = match path {
        Path::Null => return Err(Reply::new(501, "5.1.3", "A recipient needs a name")),
        Path::Name(name) => (name, by_name(&users, name)?),
        Path::Mailbox(mailbox) if !is_local(config, mailbox) => {
            return Err(Reply::new(550, "5.7.1", "Not a domain of ours, and no relaying here"));
        }
        Path::Mailbox(mailbox) => (&mailbox.local, by_name(&users, &mailbox.local)?),
    };
    let found = match found {
        None if local.eq_ignore_ascii_case(b"postmaster") => postmaster(config, &users)?,
        other => other,
    };
    found.ok_or_else(|| Reply::new(550, "5.1.1", "No such user here"))
}

/// The user and where his mail lies.
///
/// # Errors
/// As [`find`].
pub fn resolve(config: &Config, path: &Path) -> Result<Recipient, Reply> {
    let user = find(config, path)?;
    let maildir = config.mail.maildir(&user).map_err(|error| {
        log::error!("{error}");
        Reply::new(451, "4.3.0", "The mailbox cannot be used now, try again later")
    })?;
    let address = match path {
        Path::Mailbox(mailbox) => mailbox.text.clone(),
        _ => format!("{}@{}", address::local_part(&user.name), config.hostname),
    };
    Ok(Recipient { user: user.name.escape_ascii().to_string(), address, maildir })
}

/// The Maildir of the first user of the file: where the room on the disk is measured before there
/// is a recipient.
#[must_use]
pub fn sample_maildir(config: &Config) -> Option<PathBuf> {
    let users = Users::open(&config.users).ok()?;
    config.mail.maildir(&first(&users).ok()??).ok()
}

/// The answer when the users file cannot be read; the log gets the reason.
pub(crate) fn unavailable(error: &mailstore::Error) -> Reply {
    log::error!("{error}");
    Reply::new(451, "4.3.0", "The list of users cannot be read now, try again later")
}

fn by_name(users: &Users, name: &[u8]) -> Result<Option<User>, Reply> {
    let exact = users.find(name).map_err(|e| unavailable(&e))?;
    let small = name.to_ascii_lowercase();
    if exact.is_some() || small == name {
        return Ok(exact);
    }
    users.find(&small).map_err(|e| unavailable(&e))
}

/// The user of `--postmaster`, else root, else the first user of the file.
fn postmaster(config: &Config, users: &Users) -> Result<Option<User>, Reply> {
    let named = config.postmaster.as_deref().unwrap_or("root");
    match by_name(users, named.as_bytes())? {
        Some(user) => Ok(Some(user)),
        None => first(users).map_err(|e| unavailable(&e)),
    }
}

fn first(users: &Users) -> mailstore::Result<Option<User>> {
    let mut found = None;
    users.scan(|user| {
        found = Some(user);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Ours are the domains of `--domain`, `localhost`, and address literals of this machine
/// (RFC 1123 §5.2.17).
fn is_local(config: &Config, mailbox: &Mailbox) -> bool {
    let domain = mailbox.domain.as_slice();
    let named = config.domains.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(domain));
    named
        || domain.eq_ignore_ascii_case(b"localhost")
        || literal_ip(domain).is_some_and(is_own_address)
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
