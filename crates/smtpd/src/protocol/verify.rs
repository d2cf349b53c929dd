//! VRFY finds a user, EXPN the members of a group (RFC 5321 §3.5; slide: "VRFY", full names; "EXPN").

use crate::protocol::address::{self, Path, Tolerance};
use crate::protocol::lookup::LocalUser;
use crate::protocol::outcome::Outcome;
use crate::protocol::question::MAX_LISTED;
use crate::protocol::reply::Reply;
use crate::protocol::state::{Context, State};

/// VRFY (RFC 5321 §4.1.1.6). It changes only the count of unknown names.
pub(super) fn vrfy(context: &Context<'_>, argument: &[u8]) -> Outcome {
    // The process that finds users receives the letter.
    if !context.may_verify() || context.state == State::Chunks {
        let text = "Cannot VRFY, but will take letters and try";
        return Outcome::Reply(Reply::new(252, "2.5.2", text));
    }
    Outcome::Verified(verify(context, argument))
}

/// Finds the user by an address, a name, or a part of a full name. 553 if several users match.
fn verify(context: &Context<'_>, argument: &[u8]) -> Reply {
    match parse(argument).and_then(|path| context.users.find(&path)) {
        Ok(user) => Reply::new(250, "2.1.5", full_address(&user)),
        Err(reply) if reply.code() == 550 && !argument.contains(&b'@') => {
            by_full_name(context, argument)
        }
        Err(reply) => reply,
    }
}

fn parse(argument: &[u8]) -> Result<Path, Reply> {
    let bad = |why| Reply::new(501, "5.1.3", why);
    if argument.starts_with(b"<") {
        return match address::path(argument, Tolerance::NONE) {
            Ok((path, b"")) => Ok(path),
            Ok(_) => Err(bad("Text behind the address")),
            Err(error) => Err(bad(error.0)),
        };
    }
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || b" .'-".contains(b);
    match address::without_brackets(argument) {
        Ok(path) => Ok(path),
        // `Fred Smith` is not a local part, but may be a full name.
        Err(_) if argument.iter().all(is_name) => Ok(Path::Name(argument.to_vec())),
        Err(error) => Err(bad(error.0)),
    }
}

fn by_full_name(context: &Context<'_>, name: &[u8]) -> Reply {
    let found = match context.users.find_by_full_name(name) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    match found.as_slice() {
        [] => Reply::new(550, "5.1.1", "No such user here"),
        [one] => Reply::new(250, "2.1.5", full_address(one)),
        several => {
            let ambiguous = Reply::new(553, "5.1.4", "Ambiguous; it may be");
            let listed = several.iter().take(MAX_LISTED);
            let add = |reply: Reply, user| reply.and(full_address(user));
            let reply = listed.fold(ambiguous, add);
            if several.len() > MAX_LISTED { reply.and("and others") } else { reply }
        }
    }
}

/// EXPN (RFC 5321 §4.1.1.7). As VRFY it changes only the count of unknown names.
pub(super) fn expn(context: &Context<'_>, argument: &[u8]) -> Outcome {
    if !context.may_verify() {
        let text = "EXPN is not for you: members of groups are not told";
        return Outcome::Reply(Reply::new(502, "5.7.0", text));
    }
    let members = parse(argument).and_then(|path| context.users.members(&path));
    let members = match members {
        Ok(members) => members,
        Err(reply) => return Outcome::Verified(reply),
    };
    let mut members = members.iter();
    let Some(first) = members.next() else {
        let text = "That is a user, not a group; VRFY tells who";
        return Outcome::Verified(Reply::new(550, "5.1.1", text));
    };
    let reply = Reply::new(250, "2.1.5", full_address(first));
    Outcome::Verified(members.fold(reply, |reply, member| match member.address.is_empty() {
        true => reply.and("and others"),
        false => reply.and(full_address(member)),
    }))
}

/// Returns `Full Name <name@domain>`.
fn full_address(user: &LocalUser) -> String {
    let (full, address) = (address::ascii(&user.full_name), address::ascii(&user.address));
    let space = if full.is_empty() { "" } else { " " };
    format!("{full}{space}<{address}>")
}
