//! Answers what VRFY and EXPN ask, in a process that may read the accounts and the aliases.

use crate::delivery::route::{Route, Router, Target};
use crate::delivery::users::{Users, local_user, own_domain, unreadable};
use crate::options::{Config, Vrfy};
use crate::protocol::address::{Name, local_part_utf8};
use crate::protocol::lookup::LocalUser;
use crate::protocol::question::{Verdict, encode_moved, encode_users};

/// Returns who is behind an address: the user; the address itself if it is a group, or that of a user who has
/// moved.
#[must_use]
pub fn user(config: &Config, name: &Name) -> Vec<u8> {
    if config.vrfy == Vrfy::None {
        return Verdict::Unknown.encode();
    }
    let routes = match Router::open(config).and_then(|router| router.expand(name)) {
        Ok(routes) => routes,
        Err(verdict) => return verdict.encode(),
    };
    match (routes.moved_to, routes.all.as_slice()) {
        (Some(address), _) => encode_moved(address.text.as_bytes(), config.has_queue()),
        (None, [Route { target: Target::Mailbox { account, .. }, .. }]) => {
            encode_users(&[local_user(config, account)])
        }
        _ => encode_users(&[group(config, name)]),
    }
}

/// Returns the members of a group, down to users and addresses elsewhere; none for the name of a user. In place of a command and a
/// file stands the group itself (RFC 5321 §3.5.2).
#[must_use]
pub fn members(config: &Config, name: &Name) -> Vec<u8> {
    if config.vrfy == Vrfy::None {
        return Verdict::Unknown.encode();
    }
    let routes = Router::open(config).and_then(|router| match router.is_alias(name)? {
        true => router.expand_anywhere(name).map(|routes| routes.all),
        false => Ok(Vec::new()),
    });
    let member = |route: &Route| match &route.target {
        Target::Mailbox { account, .. } => local_user(config, account),
        Target::Elsewhere(address) => {
            LocalUser { address: address.text.clone().into_bytes(), full_name: Vec::new() }
        }
        Target::Program { .. } | Target::File { .. } | Target::Nowhere => group(config, name),
    };
    match routes {
        Ok(routes) => {
            let mut members: Vec<LocalUser> = routes.iter().map(member).collect();
            members.dedup();
            encode_users(&members)
        }
        Err(verdict) => verdict.encode(),
    }
}

/// Returns the users who have a full name, or a word of it.
#[must_use]
pub fn full_name(config: &Config, name: &[u8]) -> Vec<u8> {
    if config.vrfy == Vrfy::None {
        return Verdict::Unknown.encode();
    }
    match Users::open(config).and_then(|users| users.by_full_name(name)) {
        Ok(found) => encode_users(&found),
        Err(error) => unreadable(&error).encode(),
    }
}

/// Returns the address of a group.
fn group(config: &Config, name: &Name) -> LocalUser {
    let domain = own_domain(config, &name.domain).unwrap_or_default();
    let address = format!("{}@{domain}", local_part_utf8(&name.local));
    LocalUser { address: address.into_bytes(), full_name: Vec::new() }
}
