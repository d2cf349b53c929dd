//! The new name in a rule: text, parts of the old name, and the client's addresses.

use std::net::IpAddr;

use regex::bytes::{Captures, Regex};

use super::context::RequestContext;
use super::mapped_name::MappedName;

/// A part of a new name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    /// `$0`, `$1`, `${name}`: the text matched by a group of the pattern; `$0` is the whole match.
    Group(usize),
    /// `%i`: the client's IP address.
    Address,
    /// `%x`: the IP address in hexadecimal digits, as PXELINUX writes it.
    Hexadecimal,
    /// `%m`: the client's hardware address.
    HardwareAddress,
}

/// The parsed new name of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Parses a new name. Groups are those of `pattern`; without a pattern there is only `$0`, the
    /// whole name.
    pub(super) fn parse(text: &str, pattern: Option<&Regex>) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '%']) {
            let (before, from) = rest.split_at(at);
            parts.push(Part::Text(before.as_bytes().to_vec()));
            let (part, after) = match from.strip_prefix('%') {
                Some(key) => percent(key)?,
                None => dollar(from.get(1..).unwrap_or_default(), pattern)?,
            };
            parts.push(part);
            rest = after;
        }
        parts.push(Part::Text(rest.as_bytes().to_vec()));
        parts.retain(|part| *part != Part::Text(Vec::new()));
        Ok(Template(parts))
    }

    /// Appends the new name. Returns `None` if it needs the client's hardware address and that is
    /// unknown.
    pub(super) fn expand(
        &self,
        group: impl Fn(usize) -> Vec<u8>,
        context: &RequestContext<'_>,
        name: &mut MappedName,
    ) -> Option<()> {
        for part in &self.0 {
            let client = match part {
                Part::Text(text) => {
                    name.bytes.extend_from_slice(text);
                    continue;
                }
                Part::Group(number) => {
                    name.bytes.extend_from_slice(&group(*number));
                    continue;
                }
                Part::Address => context.peer.to_string(),
                Part::Hexadecimal => hexadecimal(context.peer),
                Part::HardwareAddress => (context.hardware_address)()?,
            };
            name.bytes.extend_from_slice(client.as_bytes());
            name.client_end = Some(name.bytes.len());
        }
        Some(())
    }
}

/// Returns the text matched by a group, empty if the group took no part in the match.
pub(super) fn group_text<'c>(captures: &'c Captures<'_>) -> impl Fn(usize) -> Vec<u8> + use<'c> {
    |number| captures.get(number).map(|group| group.as_bytes().to_vec()).unwrap_or_default()
}

fn hexadecimal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("{:08X}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:032X}", v6.to_bits()),
    }
}

fn percent(key: &str) -> Result<(Part, &str), String> {
    let mut letters = key.chars();
    let part = match letters.next() {
        Some('%') => Part::Text(b"%".to_vec()),
        Some('i') => Part::Address,
        Some('x') => Part::Hexadecimal,
        Some('m') => Part::HardwareAddress,
        Some(other) => {
            return Err(format!("%{} is none of %i, %x, %m and %%", other.escape_debug()));
        }
        None => return Err("% at the end; %% is a percent sign".into()),
    };
    Ok((part, letters.as_str()))
}

fn dollar<'t>(key: &'t str, pattern: Option<&Regex>) -> Result<(Part, &'t str), String> {
    if let Some(after) = key.strip_prefix('$') {
        return Ok((Part::Text(b"$".to_vec()), after));
    }
    let (group, after) = match key.strip_prefix('{') {
        Some(key) => key.split_once('}').ok_or("${ without }")?,
        None => {
            let not_digit = |c: char| !c.is_ascii_digit();
            key.split_at(key.find(not_digit).unwrap_or(key.len()))
        }
    };
    let number = match group.parse() {
        Ok(number) => Some(number),
        Err(_) if group.is_empty() => {
            return Err("$ without a number or {NAME}; $$ is a dollar sign".into());
        }
        Err(_) => {
            pattern.and_then(|regex| regex.capture_names().position(|name| name == Some(group)))
        }
    };
    let groups = pattern.map_or(1, Regex::captures_len);
    match number.filter(|number| *number < groups) {
        Some(number) => Ok((Part::Group(number), after)),
        None => Err(format!("there is no group ${}", group.escape_debug())),
    }
}
