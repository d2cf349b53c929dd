//! What the rules do to a name.

use std::net::IpAddr;

use nix::errno::Errno;
use regex::bytes::Regex;

use super::network::Network;
use super::template::{Template, group_of};
use crate::failure::Failure;
use crate::packet::{Code, Direction};

/// The longest name that may come of a rule: PATH_MAX of Linux, with its NUL.
const MAX_NAME: usize = 4095;

/// One line of the file.
#[derive(Debug)]
pub(super) struct Rule {
    /// RRQ or WRQ alone.
    pub(super) direction: Option<Direction>,
    /// Clients of this network alone.
    pub(super) from: Option<Network>,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    /// Each `\` becomes `/`.
    Slash,
    Lower,
    Upper,
    /// The beginning of a name becomes another.
    Prefix {
        old: Vec<u8>,
        new: Template,
    },
    /// What matches becomes something else: the first time, or each time.
    Regex {
        pattern: Regex,
        new: Template,
        all: bool,
    },
    /// Another name, if a file has it.
    Try(Template),
    /// Ends the rules for names that match, as they were sent and without detours.
    Stop(Regex),
    /// Refuses names that match, as they were sent or by a detour.
    Deny(Regex),
}

/// Who asks, and what the rules may want to know.
pub(super) struct Asking<'a> {
    pub(super) direction: Direction,
    /// The client's address.
    pub(super) peer: IpAddr,
    /// Its hardware address, where that is known.
    pub(super) hardware: &'a dyn Fn() -> Option<String>,
    /// For an RRQ: there is a file of this name. For a WRQ: there is a folder for it.
    pub(super) is_there: &'a dyn Fn(&[u8]) -> bool,
}

/// What comes of one rule.
enum Outcome {
    /// On with this name.
    Name(Vec<u8>),
    /// No other rule is asked.
    End(Vec<u8>),
    Denied,
}

/// Each rule in its turn, on the name that came of the one before.
pub(super) fn apply(rules: &[Rule], name: &[u8], asking: &Asking<'_>) -> Result<Vec<u8>, Failure> {
    let mut name = name.to_vec();
    for rule in rules.iter().filter(|rule| rule.concerns(asking)) {
        match rule.action.apply(name, asking) {
            Outcome::Name(new) => name = new,
            Outcome::End(new) => return Ok(new),
            Outcome::Denied => return Err(Failure::denied(Code::Access, "Name is not allowed")),
        }
        if name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG.into());
        }
    }
    Ok(name)
}

impl Rule {
    fn concerns(&self, asking: &Asking<'_>) -> bool {
        self.direction.is_none_or(|direction| direction == asking.direction)
            && self.from.is_none_or(|network| network.contains(asking.peer))
    }
}

impl Action {
    fn apply(&self, mut name: Vec<u8>, asking: &Asking<'_>) -> Outcome {
        match self {
            Action::Slash => {
                name.iter_mut().filter(|octet| **octet == b'\\').for_each(|octet| *octet = b'/');
            }
            Action::Lower => name.make_ascii_lowercase(),
            Action::Upper => name.make_ascii_uppercase(),
            Action::Prefix { old, new } => {
                if let Some(new) = prefixed(&name, old, new, asking) {
                    name = new;
                }
            }
            Action::Regex { pattern, new, all } => {
                if let Some(new) = replaced(&name, pattern, new, *all, asking) {
                    name = new;
                }
            }
            Action::Try(new) => {
                let mut other = Vec::new();
                if new.expand(|_| name.clone(), asking, &mut other).is_some()
                    && other.len() <= MAX_NAME
                    && (asking.is_there)(&other)
                {
                    return Outcome::End(other);
                }
            }
            Action::Stop(pattern)
                if pattern.is_match(&name) && pattern.is_match(&without_detours(&name)) =>
            {
                return Outcome::End(name);
            }
            Action::Deny(pattern)
                if pattern.is_match(&name) || pattern.is_match(&without_detours(&name)) =>
            {
                return Outcome::Denied;
            }
            Action::Stop(_) | Action::Deny(_) => (),
        }
        Outcome::Name(name)
    }
}

fn prefixed(name: &[u8], old: &[u8], new: &Template, asking: &Asking<'_>) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(old)?;
    let mut other = Vec::new();
    new.expand(|_| old.to_vec(), asking, &mut other)?;
    other.extend_from_slice(rest);
    Some(other)
}

fn replaced(
    name: &[u8],
    pattern: &Regex,
    new: &Template,
    all: bool,
    asking: &Asking<'_>,
) -> Option<Vec<u8>> {
    let (mut other, mut at) = (Vec::new(), 0);
    for captures in pattern.captures_iter(name).take(if all { usize::MAX } else { 1 }) {
        let whole = captures.get(0)?;
        other.extend_from_slice(name.get(at..whole.start())?);
        new.expand(group_of(&captures), asking, &mut other)?;
        at = whole.end();
        if other.len() > MAX_NAME {
            break; // too long already, whatever follows
        }
    }
    other.extend_from_slice(name.get(at..)?);
    Some(other)
}

/// The name without `.`, `..` and needless slashes, as far as can be told without looking at the
/// folders: so that `/./a//../secret` is no way round a rule that denies `^secret`, and `pub/../x` no name in
/// `pub`.
fn without_detours(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&octet| octet == b'/') {
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
