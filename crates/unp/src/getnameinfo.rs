//! The resolver from an address to its name: getnameinfo, which came after the slides' gethostbyaddr.

use std::ffi::c_int;
use std::net::SocketAddr;

use forknet::printable;

use crate::getaddrinfo::NoAnswer;

/// getnameinfo(3): returns the names of an address and of a port. `flags` are those of netdb.h:
/// `NI_NAMEREQD` (no name is an error; without it the digits stand for it), `NI_NUMERICHOST`,
/// `NI_NUMERICSERV`, `NI_DGRAM` (the service by UDP). What does not print is escaped, because the
/// owner of an address chooses its name.
///
/// # Errors
/// The resolver's.
pub fn getnameinfo(address: SocketAddr, flags: c_int) -> Result<(String, String), NoAnswer> {
    let (host, service) = sys::getnameinfo::getnameinfo(address, flags)?;
    Ok((printable(host.to_bytes()), printable(service.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::getaddrinfo::getaddrinfo;
    use nix::libc;
    use nix::sys::socket::{AddressFamily, SockType};

    #[test]
    fn digits_need_no_resolver_in_either_direction() {
        let found = getaddrinfo("127.0.0.1", Some("25"), AddressFamily::Unspec, SockType::Stream);
        assert_eq!(found.unwrap().addresses, ["127.0.0.1:25".parse().unwrap()]);
        let flags = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
        let named = getnameinfo("[::1]:25".parse().unwrap(), flags);
        assert_eq!(named.unwrap(), ("::1".into(), "25".into()));
    }
}
