//! The hosts that take a domain's mail, in the order in which they are tried (RFC 5321 §5.1).

use std::io;

use crate::domain::Domain;
use crate::failure::{Failure, Result};
use crate::message::{Exchange, Kind, Record, Records};
use crate::resolver::Resolver;

/// Most hosts that are kept of an MX.
const MAX_HOSTS: usize = 20;

/// A host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHost {
    /// The lowest is tried first.
    pub preference: u16,
    /// Its name, whose addresses are asked for next.
    pub name: Domain,
}

/// The hosts of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHosts {
    /// In the order in which they are tried; at least one.
    pub list: Vec<MailHost>,
    /// The domain has no MX: its own address takes its mail.
    pub is_implicit: bool,
    /// How long they may be used, in seconds.
    pub seconds: u32,
    /// A server that is believed has checked the signatures of this list (AD).
    pub is_secure: bool,
}

/// Finds the hosts that take a domain's mail: those of its MX, equal ones in an order of chance; without an MX the
/// domain itself. Where one of them is `is_self`, it and those of the same or a later preference are left out, because
/// they would send the letter here.
///
/// # Errors
/// [`Failure`]; with an MX, the domain's own address is never used.
pub fn mail_hosts(
    resolver: &Resolver,
    domain: &Domain,
    is_self: impl Fn(&Domain) -> bool,
) -> Result<MailHosts> {
    let Some(found) = resolver.ask(domain, Kind::Mx)? else {
        return Err(Failure::NoDomain(domain.clone()));
    };
    let Records { list: records, seconds, is_secure } = found;
    if records.is_empty() {
        if is_self(domain) {
            return Err(Failure::Loop(domain.clone()));
        }
        let itself = MailHost { preference: 0, name: domain.clone() };
        return Ok(MailHosts { list: vec![itself], is_implicit: true, seconds, is_secure });
    }
    let hosts = hosts_of(&records);
    if hosts.is_empty() {
        let is_null = records.iter().all(|it| matches!(it, Record::Mx(_, Exchange::Root)));
        let why = if is_null { Failure::NullMx } else { Failure::NoAddress };
        return Err(why(domain.clone()));
    }
    let list = in_order(hosts, random_numbers)
        .map_err(|error| Failure::Temporary(format!("random numbers: {error}")))?;
    let list = before_self(list, is_self);
    if list.is_empty() {
        return Err(Failure::Loop(domain.clone()));
    }
    Ok(MailHosts { list, is_implicit: false, seconds, is_secure })
}

/// Returns the hosts of MX records; the root is none (RFC 7505), also beside others.
fn hosts_of(records: &[Record]) -> Vec<MailHost> {
    let host = |record: &Record| match record {
        Record::Mx(preference, Exchange::Host(name)) => {
            Some(MailHost { preference: *preference, name: name.clone() })
        }
        _ => None,
    };
    records.iter().filter_map(host).collect()
}

/// Sorts by preference, equal ones by numbers of chance.
fn in_order(
    mut hosts: Vec<MailHost>,
    numbers: impl Fn(&mut [u8]) -> io::Result<()>,
) -> io::Result<Vec<MailHost>> {
    hosts.sort_by(|a, b| (a.preference, &a.name).cmp(&(b.preference, &b.name)));
    hosts.dedup_by(|later, first| later.name == first.name);
    let mut chance = vec![0; hosts.len() * 8];
    numbers(&mut chance)?;
    let mut drawn: Vec<(u16, &[u8], MailHost)> = hosts
        .into_iter()
        .zip(chance.chunks(8))
        .map(|(host, it)| (host.preference, it, host))
        .collect();
    drawn.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    drawn.truncate(MAX_HOSTS);
    Ok(drawn.into_iter().map(|(_, _, host)| host).collect())
}

fn random_numbers(bytes: &mut [u8]) -> io::Result<()> {
    sys::getrandom::fill(bytes).map_err(io::Error::from)
}

/// Leaves out ourselves, and all with the same preference or a higher number.
fn before_self(list: Vec<MailHost>, is_self: impl Fn(&Domain) -> bool) -> Vec<MailHost> {
    let own = list.iter().filter(|host| is_self(&host.name)).map(|host| host.preference).min();
    list.into_iter().filter(|host| own.is_none_or(|own| host.preference < own)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Domain {
        Domain::parse(text.as_bytes()).unwrap()
    }

    fn hosts(list: &[(u16, &str)]) -> Vec<MailHost> {
        list.iter()
            .map(|(preference, host)| MailHost { preference: *preference, name: name(host) })
            .collect()
    }

    fn names(list: &[MailHost]) -> Vec<&str> {
        list.iter().map(|host| host.name.as_str()).collect()
    }

    #[test]
    fn hosts_are_tried_by_preference_and_equal_ones_by_chance() {
        let list = hosts(&[(20, "c.test"), (10, "a.test"), (10, "b.test"), (5, "z.test")]);
        let first_wins = |bytes: &mut [u8]| {
            bytes.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number);
            Ok(())
        };
        let last_wins = |bytes: &mut [u8]| {
            bytes.iter_mut().zip(0..).for_each(|(byte, number)| *byte = 255 - number);
            Ok(())
        };
        assert_eq!(
            names(&in_order(list.clone(), first_wins).unwrap()),
            ["z.test", "a.test", "b.test", "c.test"]
        );
        assert_eq!(
            names(&in_order(list, last_wins).unwrap()),
            ["z.test", "b.test", "a.test", "c.test"]
        );
    }

    #[test]
    fn we_and_those_behind_us_are_left_out() {
        let list = hosts(&[(5, "z.test"), (10, "a.test"), (10, "b.test"), (20, "c.test")]);
        let before = before_self(list.clone(), |host| host == &name("b.test"));
        assert_eq!(names(&before), ["z.test"]);
        assert_eq!(before_self(list.clone(), |host| host == &name("z.test")), []);
        assert_eq!(before_self(list.clone(), |_| false), list);
    }

    #[test]
    fn the_root_is_no_host() {
        let null = Record::Mx(0, Exchange::Root);
        assert_eq!(hosts_of(std::slice::from_ref(&null)), []);
        let both = [null, Record::Mx(10, Exchange::Host(name("a.test")))];
        assert_eq!(names(&hosts_of(&both)), ["a.test"]);
    }
}
