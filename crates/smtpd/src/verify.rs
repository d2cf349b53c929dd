//! VRFY: who is somebody (RFC 5321 §3.5; slide: "VRFY", full names).

use std::ops::ControlFlow;

use mailstore::{User, Users};

use crate::address::{self, Path};
use crate::options::Config;
use crate::recipient;
use crate::reply::Reply;

/// So many users of an ambiguous name are told.
const MAX_TOLD: usize = 10;

/// The answer to VRFY: an address, a user's name, or a part of a full name will do; 553 where
/// several users are meant.
#[must_use]
pub fn verify(config: &Config, argument: &[u8]) -> Reply {
    let found = match parse(argument) {
        Ok(path) => recipient::find(config, &path),
        Err(reply) => Err(reply),
    };
    match found {
        Ok(user) => Reply::new(250, "2.1.5", shown(config, &user)),
        Err(reply) if reply.code() == 550 && !argument.contains(&b'@') => {
            by_full_name(config, argument)
        }
        Err(reply) => reply,
    }
}

fn parse(argument: &[u8]) -> Result<Path, Reply> {
    let bad = |why| Reply::new(501, "5.1.3", why);
    if argument.starts_with(b"<") {
        return match address::path(argument) {
            Ok((path, b"")) => Ok(path),
            Ok(_) => Err(bad("Text behind the address")),
            Err(error) => Err(bad(error.0)),
        };
    }
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || b" .'-".contains(b);
    match address::bare(argument) {
        Ok(path) => Ok(path),
        // `Fred Smith` is no local part, but may be somebody's full name.
        Err(_) if argument.iter().all(is_name) => Ok(Path::Name(argument.to_vec())),
        Err(error) => Err(bad(error.0)),
    }
}

/// Users whose full name is this, or has it for one of its words, in any case.
fn by_full_name(config: &Config, wanted: &[u8]) -> Reply {
    let mut found: Vec<User> = Vec::new();
    let scanned = Users::open(&config.users).and_then(|users| {
        users.scan(|user| {
            let full = full_name(&user);
            let mut words = full.split(|&b| b == b' ');
            let is_meant = full.eq_ignore_ascii_case(wanted)
                || words.any(|word| word.eq_ignore_ascii_case(wanted));
            if is_meant {
                found.push(user);
            }
            if found.len() > MAX_TOLD { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    if let Err(error) = scanned {
        return recipient::unavailable(&error);
    }
    match found.as_slice() {
        [] => Reply::new(550, "5.1.1", "No such user here"),
        [one] => Reply::new(250, "2.1.5", shown(config, one)),
        several => {
            let ambiguous = Reply::new(553, "5.1.4", "Ambiguous; it may be");
            let told = several.iter().take(MAX_TOLD);
            let reply = told.fold(ambiguous, |reply, user| reply.and(shown(config, user)));
            if several.len() > MAX_TOLD { reply.and("and others") } else { reply }
        }
    }
}

/// `Full Name <name@domain>`.
fn shown(config: &Config, user: &User) -> String {
    let domain = config.domains.first().unwrap_or(&config.hostname);
    let (full, name) = (address::ascii(full_name(user)), address::local_part(&user.name));
    let space = if full.is_empty() { "" } else { " " };
    format!("{full}{space}<{name}@{domain}>")
}

/// The first of the comma-separated parts of the field.
fn full_name(user: &User) -> &[u8] {
    user.gecos.split(|&b| b == b',').next().unwrap_or_default().trim_ascii()
}
