//! The relay host, to which all letters go.

use std::net::{IpAddr, SocketAddr};

use dns::{Domain, Resolver, Tlsa};
use forknet::HostPort;
use smtpclient::{Destination, Enhanced, Failure, Stage, Status};

use crate::options::Config;

/// Status of a host that is not found now (RFC 3463 §3.5): that it has no address is no reason to return letters.
const NOT_FOUND: Enhanced = Enhanced { class: 4, subject: 4, detail: 3 };

/// Looks up the addresses of the relay host: by the system, which knows /etc/hosts too, unless an option names the name server; and
/// what a signed zone says of its certificate (RFC 7672).
///
/// # Errors
/// It is not found, or there is no answer about its certificate, for now.
pub(super) fn destination(
    config: &Config,
    relay: &HostPort,
    resolver: &Resolver,
) -> Result<Destination, Failure> {
    let later = |why: String| {
        let text = format!("relay host {relay}: {why}");
        Failure::new(Stage::Lookup, Status::Temporary, NOT_FOUND, text)
    };
    let (name, port) = (relay.host.clone(), relay.port);
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(Destination::Host { name, addresses: vec![(ip, port).into()], tlsa: vec![] });
    }
    let host = Domain::parse(name.as_bytes());
    let is_asked = config.resolver.is_some() || resolver.is_believed();
    let found = host.as_ref().filter(|_| is_asked).map(|host| resolver.addresses(host));
    let is_secure = matches!(&found, Some(Ok(found)) if found.is_secure);
    let addresses: Vec<SocketAddr> = match (config.resolver, found) {
        (None, _) => forknet::resolve(&name, port).map_err(|it| later(forknet::reason(&it)))?,
        (Some(_), None) => return Err(later("not a name that a host can have".into())),
        (Some(_), Some(found)) => {
            let found = found.map_err(|failure| later(failure.to_string()))?;
            found.list.into_iter().map(|ip| (ip, port).into()).collect()
        }
    };
    let tlsa = |host: &Domain| resolver.tlsa(host, port);
    let tlsa: Option<dns::Result<Vec<Tlsa>>> = host.as_ref().filter(|_| is_secure).map(tlsa);
    let tlsa = tlsa.transpose().map_err(|failure| later(failure.to_string()))?;
    Ok(Destination::Host { name, addresses, tlsa: tlsa.unwrap_or_default() })
}
