//! Where a letter goes: to one server, or to the hosts that take the mail of a domain (RFC 5321 §5.1), each by all its
//! addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use dns::{Domain, MailHost, Resolver, Tlsa, mail_hosts};
use forknet::{HostPort, UnixName};

use crate::failure::{Failure, Result, Stage, code};
use crate::settings::Settings;
use crate::status::Status;

/// Most addresses that are tried for one destination: each may cost its timeout.
const MAX_ADDRESSES: usize = 10;

/// Where letters are to go.
#[derive(Debug)]
pub enum Destination {
    /// To one server.
    Server(Place),
    /// To one server that has these addresses.
    Host {
        /// Its name, which is the one in its certificate.
        name: String,
        /// Its addresses, tried in this order.
        addresses: Vec<SocketAddr>,
        /// What DNS says of its certificate: secure TLSA records.
        tlsa: Vec<Tlsa>,
    },
    /// To the hosts of a domain. An address literal (RFC 5321 §4.1.3) is the host itself.
    Domain {
        /// The domain, as it follows the `@`.
        domain: String,
        /// The port of its hosts.
        port: u16,
        /// Who is asked for them.
        resolver: Resolver,
        /// Names of this host: where one of them is among the hosts, it and those after it are left out (RFC 5321 §5.1).
        own_names: Vec<Domain>,
    },
}

/// How to connect to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By TCP; the name is looked up by the system, and is the one in the certificate.
    Tcp(HostPort),
    /// By TCP to this address of a host.
    Address {
        /// The host's name, which is the one in its certificate.
        host: String,
        /// The address.
        address: SocketAddr,
    },
    /// By a UNIX-domain socket.
    Unix(UnixName),
}

/// A server that may take letters.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub place: Place,
    /// What DNS says of its certificate: secure TLSA records, empty without any (RFC 7672).
    pub tlsa: Vec<Tlsa>,
    /// Names that its certificate may have for DANE: the domain of the mail after the host's own (RFC 7672 §3.2.2).
    pub names: Vec<String>,
}

impl Target {
    /// Makes the target of a server without DANE.
    #[must_use]
    pub fn new(place: Place) -> Target {
        Target { place, tlsa: Vec::new(), names: Vec::new() }
    }

    /// Returns the server's name.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.place {
            Place::Tcp(server) => &server.host,
            Place::Address { host, .. } => host,
            Place::Unix(_) => "localhost",
        }
    }
}

/// For people: `host:25`, `host[127.0.0.2]:25`, `unix:/run/lmtp`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(server) => write!(f, "{server}"),
            Place::Address { host, address } if *host == address.ip().to_string() => {
                write!(f, "{address}")
            }
            Place::Address { host, address } => {
                write!(f, "{host}[{}]:{}", address.ip(), address.port())
            }
            Place::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

/// The servers of a destination, in the order in which they are tried. The addresses of a host are looked up when its
/// turn comes.
#[derive(Debug)]
pub struct Route {
    asked: Option<Asked>,
    /// What was found so far: a server, or why a host has none.
    found: Vec<std::result::Result<Target, Failure>>,
    addresses: usize,
}

/// The hosts of a domain, as the name server has told them.
#[derive(Debug)]
struct Asked {
    resolver: Resolver,
    own_names: Vec<Domain>,
    /// Those whose addresses were not looked up yet, the last first.
    hosts: Vec<MailHost>,
    domain: Domain,
    port: u16,
    /// When the first of the answers is too old (TTL).
    until: Instant,
    /// The list of hosts is signed, as far as the resolver says (AD).
    is_secure: bool,
}

impl Route {
    /// Finds the hosts of a destination.
    ///
    /// # Errors
    /// There are none, for good or for now.
    pub fn find(destination: Destination, settings: &Settings) -> Result<Route> {
        let one =
            |place| Ok(Route { asked: None, found: vec![Ok(Target::new(place))], addresses: 1 });
        let (domain, port, resolver, own_names) = match destination {
            Destination::Server(place) => return one(place),
            Destination::Host { name, addresses, tlsa } => {
                let target = |address| {
                    let place = Place::Address { host: name.clone(), address };
                    Ok(Target { place, tlsa: tlsa.clone(), names: vec![name.clone()] })
                };
                let found: Vec<_> = addresses.into_iter().take(MAX_ADDRESSES).map(target).collect();
                return Ok(Route { asked: None, addresses: found.len(), found });
            }
            Destination::Domain { domain, port, resolver, own_names } => {
                (domain, port, resolver, own_names)
            }
        };
        let no_host = |why: &str| {
            let text = format!("{domain}: {why}");
            Failure::new(Stage::Lookup, Status::NoHost, code(5, 1, 2), text)
        };
        if domain.starts_with('[') {
            let ip = ip_of_literal(&domain).ok_or_else(|| no_host("not an address of a host"))?;
            return one(Place::Address { host: ip.to_string(), address: (ip, port).into() });
        }
        let name = dns::to_ascii(domain.as_bytes());
        let name =
            Domain::parse(&name).ok_or_else(|| no_host("not a name that a host can have"))?;
        let (hosts, until, is_secure) = (Vec::new(), Instant::now(), false);
        let mut asked = Asked { resolver, own_names, hosts, domain: name, port, until, is_secure };
        asked.ask(settings)?;
        Ok(Route { asked: Some(asked), found: Vec::new(), addresses: 0 })
    }

    /// Asks the name server again where its answers have become too old (TTL); returns whether it did. Where there is no
    /// host any more, that is why there is no server.
    pub fn renew(&mut self, settings: &Settings) -> bool {
        let is_old = |asked: &&mut Asked| asked.until <= Instant::now();
        let Some(asked) = self.asked.as_mut().filter(is_old).filter(|_| !self.found.is_empty())
        else {
            return false; // an answer that may not be kept serves once
        };
        self.addresses = 0;
        self.found = asked.ask(settings).err().into_iter().map(Err).collect();
        true
    }

    /// Returns the server of this number, from 0, or why there is none in its place; `None` after the last.
    pub fn get(&mut self, number: usize, settings: &Settings) -> Option<Result<Target>> {
        while self.found.len() <= number && self.addresses < MAX_ADDRESSES {
            let asked = self.asked.as_mut()?;
            let host = asked.hosts.pop()?;
            let found = asked.look_up(&host, settings);
            for target in found.into_iter().take(MAX_ADDRESSES - self.addresses) {
                self.addresses += usize::from(target.is_ok());
                self.found.push(target);
            }
        }
        self.found.get(number).cloned()
    }
}

impl Asked {
    /// Finds the hosts of the domain.
    fn ask(&mut self, settings: &Settings) -> Result<()> {
        self.hosts = Vec::new();
        let name = &self.domain;
        let found = mail_hosts(&self.resolver, name, |host| self.own_names.contains(host))
            .map_err(|failure| Failure::of_dns(&failure))?;
        if found.is_implicit {
            settings.show('D', format!("{name} has no MX").as_bytes());
        } else {
            for MailHost { preference, name: host } in &found.list {
                settings.show('D', format!("{name} MX {preference} {host}").as_bytes());
            }
        }
        (self.hosts, self.is_secure) = (found.list, found.is_secure);
        self.hosts.reverse();
        self.until = Instant::now() + Duration::from_secs(found.seconds.into());
        Ok(())
    }

    /// Finds the addresses of a host, and what DNS says of its certificate.
    fn look_up(&mut self, host: &MailHost, settings: &Settings) -> Vec<Result<Target>> {
        let failed = |failure: &dns::Failure| {
            vec![Err(Failure::of_dns(failure).of_host(host.name.as_str()))]
        };
        let addresses = match self.resolver.addresses(&host.name) {
            Ok(addresses) => addresses,
            Err(failure) => return failed(&failure),
        };
        let kept = Duration::from_secs(addresses.seconds.into());
        self.until = self.until.min(Instant::now() + kept);
        let uses_tls = settings.tls.is_by_command();
        let mut tlsa = Vec::new();
        // RFC 7672 §2.2.2: unsigned zones are not asked, because some of their servers do not answer this question.
        if uses_tls && self.is_secure && addresses.is_secure {
            match self.resolver.tlsa(&host.name, self.port) {
                Ok(found) => tlsa = found,
                Err(failure) => return failed(&failure),
            }
        }
        if !tlsa.is_empty() {
            let line = format!("{} TLSA {}", host.name, tlsa.len());
            settings.show('D', line.as_bytes());
        }
        let target = |address: IpAddr| {
            let place = Place::Address {
                host: host.name.to_string(),
                address: (address, self.port).into(),
            };
            let names = vec![host.name.to_string(), self.domain.to_string()];
            Ok(Target { place, tlsa: tlsa.clone(), names })
        };
        addresses.list.into_iter().map(target).collect()
    }
}

/// Reads `[127.0.0.1]` and `[IPv6:::1]` (RFC 5321 §4.1.3).
fn ip_of_literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.split_at_checked(5) {
        Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6:") => {
            v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_literal_is_the_host() {
        assert_eq!(ip_of_literal("[127.0.0.2]"), "127.0.0.2".parse().ok());
        assert_eq!(ip_of_literal("[ipv6:::1]"), "::1".parse().ok());
        for none in ["127.0.0.2", "[127.0.0]", "[::1]", "[IPv6:127.0.0.1]", "[x:y]", "[]"] {
            assert_eq!(ip_of_literal(none), None, "{none}");
        }
    }

    #[test]
    fn a_place_is_shown_with_its_address() {
        let at = |host: &str, address: &str| Place::Address {
            host: host.into(),
            address: address.parse().unwrap(),
        };
        assert_eq!(at("red.test", "127.0.0.2:25").to_string(), "red.test[127.0.0.2]:25");
        assert_eq!(at("127.0.0.2", "127.0.0.2:25").to_string(), "127.0.0.2:25");
        assert_eq!(at("::1", "[::1]:25").to_string(), "[::1]:25");
    }
}
