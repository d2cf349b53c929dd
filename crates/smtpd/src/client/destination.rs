//! Where a letter goes: to the server of `-s`, or to the hosts that take the mail of each recipient's domain.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use dns::{Domain, MailHost, MailHosts, Resolver, mail_hosts};
use forknet::HostPort;

use super::options::{Options, Server};
use super::status::{Failure, Result, Status};
use crate::protocol::literal::parse_ip_literal;

/// Most addresses that are tried for one destination: each may cost its time-out.
const MAX_ADDRESSES: usize = 10;

/// Recipients with one domain, or with one server.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The domain, `None` for the server of `-s`.
    pub domain: Option<&'a str>,
    /// The recipients, without brackets.
    pub to: Vec<&'a str>,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host by its name, which is the one in its certificate, and the port.
    pub server: HostPort,
    /// Its address; without one the name is looked up by the system.
    pub address: Option<IpAddr>,
}

/// Puts the recipients together that go to the same place.
#[must_use]
pub fn destinations(options: &Options) -> Vec<Destination<'_>> {
    if matches!(options.server, Server::Given(_)) {
        let to = options.to.iter().map(String::as_str).collect();
        return vec![Destination { domain: None, to }];
    }
    let mut found: Vec<Destination<'_>> = Vec::new();
    for to in &options.to {
        let domain = to.rsplit_once('@').map_or("", |(_, domain)| domain);
        let is_it =
            |it: &&mut Destination<'_>| it.domain.is_some_and(|it| it.eq_ignore_ascii_case(domain));
        match found.iter_mut().find(is_it) {
            Some(destination) => destination.to.push(to),
            None => found.push(Destination { domain: Some(domain), to: vec![to] }),
        }
    }
    found
}

/// Finds the addresses of a destination, in the order in which they are tried, and hands each to `attempt`, until one
/// says that it was the last. The addresses of a host are looked up when its turn comes.
///
/// # Errors
/// No host was found, or none has an address: the last failure.
pub fn each_target(
    options: &Options,
    domain: Option<&str>,
    mut attempt: impl FnMut(&Target) -> Next,
) -> Result<()> {
    let (port, resolver) = match (&options.server, domain) {
        (Server::Given(server), _) => {
            attempt(&Target { server: server.clone(), address: None });
            return Ok(());
        }
        (Server::ByMx { port, .. }, Some(domain)) if domain.starts_with('[') => {
            attempt(&literal(domain, *port)?);
            return Ok(());
        }
        (Server::ByMx { port, resolver }, _) => (*port, resolver),
    };
    let resolver = open(*resolver)?;
    let hosts = hosts(&resolver, domain.unwrap_or_default(), options)?;
    let (mut tried, mut failed) = (0, None);
    for host in &hosts {
        let addresses = match resolver.addresses(&host.name) {
            Ok(addresses) => addresses.list,
            Err(failure) => {
                // One that is unknown for now may have taken the letter.
                let failure = of_dns(&failure);
                let is_worse = failed.as_ref().is_none_or(|it: &Failure| !it.is_temporary());
                failed = if is_worse { Some(failure) } else { failed };
                continue;
            }
        };
        for address in addresses.into_iter().take(MAX_ADDRESSES - tried) {
            tried += 1;
            let server = HostPort { host: host.name.to_string(), port };
            if attempt(&Target { server, address: Some(address) }) == Next::Done {
                return Ok(());
            }
        }
    }
    match failed {
        Some(failure) if tried == 0 || failure.is_temporary() => Err(failure),
        _ => Ok(()),
    }
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the letter was taken or refused.
    Done,
    /// The next address.
    Another,
}

fn open(server: Option<SocketAddr>) -> Result<Resolver> {
    let of_system = || {
        Resolver::of_system().map_err(|error| {
            let why = format!("/etc/resolv.conf: {}", forknet::reason(&error));
            Failure::new(Status::Temporary, why)
        })
    };
    server.map_or_else(of_system, |server| Ok(Resolver::of_server(server)))
}

fn hosts(resolver: &Resolver, domain: &str, options: &Options) -> Result<Vec<MailHost>> {
    let no_host =
        || Failure::new(Status::NoHost, format!("{domain}: not a name that a host can have"));
    let domain = Domain::parse(domain.as_bytes()).ok_or_else(no_host)?;
    // Nothing is left out for being this host: a server on it may take the letter.
    let found = mail_hosts(resolver, &domain, |_| false).map_err(|failure| of_dns(&failure))?;
    if options.verbose {
        show(&domain, &found);
    }
    Ok(found.list)
}

/// Shows the hosts with `-v`.
fn show(domain: &Domain, found: &MailHosts) {
    let mut out = io::stderr(); // best effort
    if found.is_implicit {
        let _ = writeln!(out, "D: {domain} has no MX");
        return;
    }
    for MailHost { preference, name } in &found.list {
        let _ = writeln!(out, "D: {domain} MX {preference} {name}");
    }
}

fn of_dns(failure: &dns::Failure) -> Failure {
    let status = match failure {
        dns::Failure::Temporary(_) => Status::Temporary,
        dns::Failure::NoDomain(_) | dns::Failure::NoAddress(_) => Status::NoHost,
        dns::Failure::NullMx(_) | dns::Failure::Loop(_) => Status::Unavailable,
    };
    Failure::new(status, failure.to_string())
}

/// Reads `[127.0.0.1]` and `[IPv6:::1]` (RFC 5321 §4.1.3).
fn literal(domain: &str, port: u16) -> Result<Target> {
    let no_host = || Failure::new(Status::NoHost, format!("{domain}: not an address of a host"));
    let address = parse_ip_literal(domain.as_bytes()).ok_or_else(no_host)?;
    Ok(Target { server: HostPort { host: address.to_string(), port }, address: None })
}
