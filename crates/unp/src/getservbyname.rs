//! getservbyname and getservbyport: names of services and their ports, from /etc/services.

use std::ffi::{CStr, CString};

use forknet::printable;

/// A line of services(5); what does not print is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The official name.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// The port, in host byte order (`s_port` is in network byte order).
    pub port: u16,
    /// `tcp`, `udp` …
    pub protocol: String,
}

/// getservbyname(3): returns the service of that name, by any protocol where `protocol` is `None`.
#[must_use]
pub fn getservbyname(name: &str, protocol: Option<&str>) -> Option<Service> {
    let (name, protocol) = (CString::new(name).ok()?, text(protocol)?);
    sys::getservbyname::getservbyname(&name, protocol.as_deref()).as_ref().map(shown)
}

/// getservbyport(3): returns the service of that port, which is in host byte order.
#[must_use]
pub fn getservbyport(port: u16, protocol: Option<&str>) -> Option<Service> {
    sys::getservbyname::getservbyport(port, text(protocol)?.as_deref()).as_ref().map(shown)
}

/// `None` for a protocol with a NUL in it, which has no services.
fn text(protocol: Option<&str>) -> Option<Option<CString>> {
    protocol.map(CString::new).transpose().ok()
}

fn shown(service: &sys::getservbyname::Service) -> Service {
    let text = |name: &CStr| printable(name.to_bytes());
    Service {
        name: text(&service.name),
        aliases: service.aliases.iter().map(|alias| text(alias)).collect(),
        port: service.port,
        protocol: text(&service.protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_file_can_hold_is_not_found() {
        assert_eq!(getservbyname("no such service", Some("tcp")), None);
        assert_eq!(getservbyname("a\0b", None), None);
        assert_eq!(getservbyport(25, Some("no such protocol")), None);
    }
}
