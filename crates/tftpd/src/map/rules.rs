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
    /// Its line in the file, from 1, and what it says.
    pub(super) line: usize,
    pub(super) text: String,
}

/// What a rule has done, for `--try`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// Its conditions do not hold.
    NotForThis,
    /// The name is this one now, which may be the same.
    Name(&'a [u8]),
    /// The name is this one, and no other rule follows.
    Last(&'a [u8]),
    /// The name is refused.
    Denied,
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
    /// Ends the rules for such names.
    Stop(Names),
    /// Refuses such names.
    Deny(Names),
}

/// The names that `stop` and `deny` are about. They look at a name as the client has sent it and as the rules have left it,
/// each as it is and normalized: what a rule has taken away, or a detour, hides no name from `deny`. Nor does the path of
/// the root in front of it, which is left out where the file is looked for.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) pattern: Regex,
    /// `not`: names that do not match.
    pub(super) is_inverse: bool,
}

impl Names {
    /// Whether all, or any, of the forms of a name are such names: to end the rules one must be safe in both of its forms,
    /// to be refused it is enough to be suspect in one.
    fn have(&self, sent: &[u8], left: &[u8], any: bool, context: &RequestContext<'_>) -> bool {
        let matches = |name: &[u8], any: bool| {
            let (it, plain) =
                (self.pattern.is_match(name), self.pattern.is_match(&normalized(name)));
            if any { it || plain } else { it && plain }
        };
        let short = |name: &[u8]| match name {
            [b'/', ..] => [(context.below)(name), (context.below)(&rooted(name))].concat(),
            _ => Vec::new(),
        };
        let of_either = |any: bool| {
            let is_long =
                || any && [short(sent), short(left)].concat().iter().any(|name| matches(name, any));
            matches(sent, any) || matches(left, any) || is_long()
        };
        if self.is_inverse { !of_either(!any) } else { of_either(any) }
    }
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
    sent: &[u8],
    context: &RequestContext<'_>,
    mut traced: impl FnMut(&Rule, Outcome<'_>),
) -> Result<Vec<u8>, Error> {
    let mut name = MappedName { bytes: sent.to_vec(), client_end: None };
    for rule in rules {
        if !rule.applies_to(context) {
            traced(rule, Outcome::NotForThis);
            continue;
        }
        match rule.action.apply(sent, name, context) {
            Applied::Continue(new) => name = new,
            Applied::Stop(new) => {
                traced(rule, Outcome::Last(&new.bytes));
                return Ok(new.bytes);
            }
            Applied::Denied => {
                traced(rule, Outcome::Denied);
                return Err(Error::denied(ErrorCode::Access, "Name is not allowed"));
            }
        }
        traced(rule, Outcome::Name(&name.bytes));
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
    fn apply(&self, sent: &[u8], mut name: MappedName, context: &RequestContext<'_>) -> Applied {
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
            Action::Stop(names) if names.have(sent, bytes, false, context) => {
                return Applied::Stop(name);
            }
            Action::Deny(names) if names.have(sent, bytes, true, context) => {
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

/// Returns the normalized name with the slash that a root's path begins with.
fn rooted(name: &[u8]) -> Vec<u8> {
    [b"/", &normalized(name)[..]].concat()
}
