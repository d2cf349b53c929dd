//! Applies the rules to a name.

use nix::errno::Errno;
use regex::bytes::Regex;

use super::context::RequestContext;
use super::mapped_name::MappedName;
use super::template::{Template, group_text};
use crate::error::Error;
use crate::wire::error_code::ErrorCode;
use crate::wire::request::Direction;
use forknet::Network;

/// Longest name that a rule may produce, in bytes: PATH_MAX of Linux without the NUL.
const MAX_PATH: usize = 4095;

/// One rule of the file.
#[derive(Debug)]
pub(super) struct Rule {
    /// Restricts the rule to RRQ or to WRQ.
    pub(super) direction: Option<Direction>,
    /// Restricts the rule to clients in this network.
    pub(super) from: Option<Network>,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    /// Replaces each `\` with `/`.
    Slash,
    Lower,
    Upper,
    /// Replaces a prefix of the name.
    Prefix {
        old: Vec<u8>,
        new: Template,
    },
    /// Replaces the first match, or all matches.
    Regex {
        pattern: Regex,
        new: Template,
        all: bool,
    },
    /// Takes the new name and ends the rules, if a file of that name exists.
    Try(Template),
    /// Ends the rules for names that match both as they are and normalized.
    Stop(Regex),
    /// Refuses names that match as they are or normalized.
    Deny(Regex),
}

/// The result of one rule.
enum Applied {
    /// Continue with this name.
    Continue(MappedName),
    /// End with this name.
    Stop(MappedName),
    Denied,
}

/// Applies the rules in order, each to the result of the one before.
///
/// # Errors
/// ERROR 2 if a rule denies the name, or its result is too long or leaves the client's folder.
pub(super) fn apply(
    rules: &[Rule],
    name: &[u8],
    context: &RequestContext<'_>,
) -> Result<Vec<u8>, Error> {
    let mut name = MappedName { bytes: name.to_vec(), client_end: None };
    for rule in rules.iter().filter(|rule| rule.applies_to(context)) {
        match rule.action.apply(name, context) {
            Applied::Continue(new) => name = new,
            Applied::Stop(new) => return Ok(new.bytes),
            Applied::Denied => return Err(Error::denied(ErrorCode::Access, "Name is not allowed")),
        }
        if name.bytes.len() > MAX_PATH {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if name.leaves_client_folder() {
            return Err(Error::denied(ErrorCode::Access, "Name leaves the client's folder"));
        }
    }
    Ok(name.bytes)
}

impl Rule {
    fn applies_to(&self, context: &RequestContext<'_>) -> bool {
        self.direction.is_none_or(|direction| direction == context.direction)
            && self.from.is_none_or(|network| network.contains(context.peer))
    }
}

impl Action {
    fn apply(&self, mut name: MappedName, context: &RequestContext<'_>) -> Applied {
        let bytes = &mut name.bytes;
        match self {
            Action::Slash => {
                bytes.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
            }
            Action::Lower => bytes.make_ascii_lowercase(),
            Action::Upper => bytes.make_ascii_uppercase(),
            Action::Prefix { old, new } => {
                if let Some(new) = replace_prefix(&name, old, new, context) {
                    name = new;
                }
            }
            Action::Regex { pattern, new, all } => {
                if let Some(new) = replace_matches(&name, pattern, new, *all, context) {
                    name = new;
                }
            }
            Action::Try(new) => {
                let mut other = MappedName::default();
                if new.expand(|_| bytes.clone(), context, &mut other).is_some()
                    && other.bytes.len() <= MAX_PATH
                    && !other.leaves_client_folder()
                    && (context.exists)(&other.bytes)
                {
                    return Applied::Stop(other);
                }
            }
            Action::Stop(pattern)
                if pattern.is_match(bytes) && pattern.is_match(&normalized(bytes)) =>
            {
                return Applied::Stop(name);
            }
            Action::Deny(pattern)
                if pattern.is_match(bytes) || pattern.is_match(&normalized(bytes)) =>
            {
                return Applied::Denied;
            }
            Action::Stop(_) | Action::Deny(_) => (),
        }
        Applied::Continue(name)
    }
}

fn replace_prefix(
    name: &MappedName,
    old: &[u8],
    new: &Template,
    context: &RequestContext<'_>,
) -> Option<MappedName> {
    let rest = name.bytes.strip_prefix(old)?;
    let mut other = MappedName::default();
    new.expand(|_| old.to_vec(), context, &mut other)?;
    let shifted = || name.client_end?.checked_sub(old.len()).map(|end| end + other.bytes.len());
    other.client_end = other.client_end.or_else(shifted);
    other.bytes.extend_from_slice(rest);
    Some(other)
}

fn replace_matches(
    name: &MappedName,
    pattern: &Regex,
    new: &Template,
    all: bool,
    context: &RequestContext<'_>,
) -> Option<MappedName> {
    let bytes = &name.bytes;
    let (mut other, mut at) = (MappedName { bytes: Vec::new(), client_end: name.client_end }, 0);
    let matches = pattern.captures_iter(bytes).take(if all { usize::MAX } else { 1 });
    for (count, captures) in matches.enumerate() {
        let whole = captures.get(0)?;
        if count == 0 {
            // Only text before the first match keeps its offset.
            other.client_end = name.client_end.filter(|end| *end <= whole.start());
        }
        other.bytes.extend_from_slice(bytes.get(at..whole.start())?);
        new.expand(group_text(&captures), context, &mut other)?;
        at = whole.end();
        if other.bytes.len() > MAX_PATH {
            break; // too long already
        }
    }
    other.bytes.extend_from_slice(bytes.get(at..)?);
    Some(other)
}

/// Returns the name without `.`, `..` and repeated slashes, as far as that is possible without
/// looking at the folders. So `/./a//../secret` does not evade a rule that denies `^secret`, and
/// `pub/../x` does not match `^pub/`.
fn normalized(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => (),
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}
