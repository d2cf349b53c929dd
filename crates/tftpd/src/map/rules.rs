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

/// A name on its way through the rules.
#[derive(Default)]
pub(super) struct Name {
    pub(super) octets: Vec<u8>,
    /// Where the client's address in it ends, if a rule has put it there.
    pub(super) own: Option<usize>,
}

impl Name {
    /// True where `..` follows the client's address: it would lead to the folder of another client.
    fn leaves_its_folder(&self) -> bool {
        let after = self.own.and_then(|end| self.octets.get(end..)).unwrap_or_default();
        after.split(|&octet| octet == b'/').skip(1).any(|part| part == b"..")
    }
}

/// What comes of one rule.
enum Outcome {
    /// On with this name.
    Name(Name),
    /// No other rule is asked.
    End(Name),
    Denied,
}

/// Each rule in its turn, on the name that came of the one before.
pub(super) fn apply(rules: &[Rule], name: &[u8], asking: &Asking<'_>) -> Result<Vec<u8>, Failure> {
    let mut name = Name { octets: name.to_vec(), own: None };
    for rule in rules.iter().filter(|rule| rule.concerns(asking)) {
        match rule.action.apply(name, asking) {
            Outcome::Name(new) => name = new,
            Outcome::End(new) => return Ok(new.octets),
            Outcome::Denied => return Err(Failure::denied(Code::Access, "Name is not allowed")),
        }
        if name.octets.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if name.leaves_its_folder() {
            return Err(Failure::denied(Code::Access, "Name leaves the client's folder"));
        }
    }
    Ok(name.octets)
}

impl Rule {
    fn concerns(&self, asking: &Asking<'_>) -> bool {
        self.direction.is_none_or(|direction| direction == asking.direction)
            && self.from.is_none_or(|network| network.contains(asking.peer))
    }
}

impl Action {
    fn apply(&self, mut name: Name, asking: &Asking<'_>) -> Outcome {
        let octets = &mut name.octets;
        match self {
            Action::Slash => {
                octets.iter_mut().filter(|octet| **octet == b'\\').for_each(|octet| *octet = b'/');
            }
            Action::Lower => octets.make_ascii_lowercase(),
            Action::Upper => octets.make_ascii_uppercase(),
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
                let mut other = Name::default();
                if new.expand(|_| octets.clone(), asking, &mut other).is_some()
                    && other.octets.len() <= MAX_NAME
                    && !other.leaves_its_folder()
                    && (asking.is_there)(&other.octets)
                {
                    return Outcome::End(other);
                }
            }
            Action::Stop(pattern)
                if pattern.is_match(octets) && pattern.is_match(&without_detours(octets)) =>
            {
                return Outcome::End(name);
            }
            Action::Deny(pattern)
                if pattern.is_match(octets) || pattern.is_match(&without_detours(octets)) =>
            {
                return Outcome::Denied;
            }
            Action::Stop(_) | Action::Deny(_) => (),
        }
        Outcome::Name(name)
    }
}

fn prefixed(name: &Name, old: &[u8], new: &Template, asking: &Asking<'_>) -> Option<Name> {
    let rest = name.octets.strip_prefix(old)?;
    let mut other = Name::default();
    new.expand(|_| old.to_vec(), asking, &mut other)?;
    let shifted = || name.own?.checked_sub(old.len()).map(|end| end + other.octets.len());
    other.own = other.own.or_else(shifted);
    other.octets.extend_from_slice(rest);
    Some(other)
}

fn replaced(
    name: &Name,
    pattern: &Regex,
    new: &Template,
    all: bool,
    asking: &Asking<'_>,
) -> Option<Name> {
    let octets = &name.octets;
    let (mut other, mut at) = (Name { octets: Vec::new(), own: name.own }, 0);
    let matches = pattern.captures_iter(octets).take(if all { usize::MAX } else { 1 });
    for (count, captures) in matches.enumerate() {
        let whole = captures.get(0)?;
        if count == 0 {
            other.own = name.own.filter(|end| *end <= whole.start()); // all before stays as it is
        }
        other.octets.extend_from_slice(octets.get(at..whole.start())?);
        new.expand(group_of(&captures), asking, &mut other)?;
        at = whole.end();
        if other.octets.len() > MAX_NAME {
            break; // too long already, whatever follows
        }
    }
    other.octets.extend_from_slice(octets.get(at..)?);
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
