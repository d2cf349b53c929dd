//! VRFY finds a user, EXPN the members of a group (RFC 5321 §3.5; slide: "VRFY", full names; "EXPN").

use crate::protocol::address::{self, Path, Tolerance};
use crate::protocol::lookup::LocalUser;
use crate::protocol::outcome::Outcome;
use crate::protocol::question::MAX_LISTED;
use crate::protocol::reply::Reply;
use crate::protocol::state::{Context, State};

/// VRFY (RFC 5321 §4.1.1.6). It changes only the count of unknown names.
pub(super) fn vrfy(context: &Context<'_>, argument: &[u8]) -> Outcome {
    if !context.may_verify() || is_busy(context) {
        let text = "Cannot VRFY, but will take letters and try";
        return Outcome::Reply(Reply::new(252, "2.5.2", text));
    }
    let (argument, utf8) = parameter(argument);
    Outcome::Verified(verify(context, argument, utf8))
}

/// Returns whether the process that finds users is receiving a letter in chunks.
fn is_busy(context: &Context<'_>) -> bool {
    context.state == State::Chunks
}

/// Splits `SMTPUTF8` off, which allows UTF-8 in the reply (RFC 6531 §3.7.4.2).
fn parameter(argument: &[u8]) -> (&[u8], bool) {
    const PARAMETER: &[u8] = b" SMTPUTF8";
    let at = argument.len().saturating_sub(PARAMETER.len());
    match argument.split_at_checked(at) {
        Some((name, end)) if end.eq_ignore_ascii_case(PARAMETER) => (name.trim_ascii(), true),
        _ => (argument, false),
    }
}

/// Finds the user by an address, a name, or a part of a full name. 553 if several users match.
fn verify(context: &Context<'_>, argument: &[u8], utf8: bool) -> Reply {
    match parse(argument).and_then(|path| context.users.find(&path)) {
        Ok(user) => listed(Reply::new(250, "2.1.5", ""), &[user], utf8),
        Err(reply) if reply.code() == 550 && !argument.contains(&b'@') => {
            by_full_name(context, argument, utf8)
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
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b > 127 || b" .'-".contains(b);
    match address::without_brackets(argument) {
        Ok(path) => Ok(path),
        // `Fred Smith` is not a local part, but may be a full name.
        Err(_) if argument.iter().all(is_name) => Ok(Path::Name(argument.to_vec())),
        Err(error) => Err(bad(error.0)),
    }
}

fn by_full_name(context: &Context<'_>, name: &[u8], utf8: bool) -> Reply {
    let found = match context.users.find_by_full_name(name) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    match found.as_slice() {
        [] => Reply::new(550, "5.1.1", "No such user here"),
        [_] => listed(Reply::new(250, "2.1.5", ""), &found, utf8),
        several => {
            let ambiguous = Reply::new(553, "5.1.4", "Ambiguous; it may be");
            let reply = listed(ambiguous, several.get(..MAX_LISTED).unwrap_or(several), utf8);
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
    if is_busy(context) {
        return Outcome::Reply(Reply::new(252, "2.5.2", "Not while a letter comes in chunks"));
    }
    let (argument, utf8) = parameter(argument);
    let members = match parse(argument).and_then(|path| context.users.members(&path)) {
        Ok(members) => members,
        Err(reply) => return Outcome::Verified(reply),
    };
    if members.is_empty() {
        let text = "That is a user, not a group; VRFY tells who";
        return Outcome::Verified(Reply::new(550, "5.1.1", text));
    }
    Outcome::Verified(listed(Reply::new(250, "2.1.5", ""), &members, utf8))
}

/// Adds users to a reply, whose text they are if it has none; one without an address stands for others. Where a client has not allowed UTF-8, an address
/// that needs it is not told.
fn listed(reply: Reply, users: &[LocalUser], utf8: bool) -> Reply {
    if !utf8 && users.iter().any(|user| !user.address.is_ascii()) {
        let text =
            "UTF-8 is needed to tell the address, and SMTPUTF8 behind the command to allow it";
        return Reply::new(252, "2.6.8", text);
    }
    users.iter().fold(reply, |reply, user| match user.address.is_empty() {
        true => reply.and("and others"),
        false => reply.and(full_address(user, utf8)),
    })
}

/// Returns `Full Name <name@domain>`, without a full name for which the client would need UTF-8.
fn full_address(user: &LocalUser, utf8: bool) -> String {
    let shown = |text: &[u8]| match utf8 {
        true => address::printable(text),
        false => address::ascii(text),
    };
    let is_told = !user.full_name.is_empty() && (utf8 || user.full_name.is_ascii());
    let full = if is_told { shown(&user.full_name) + " " } else { String::new() };
    format!("{full}<{}>", shown(&user.address))
}
