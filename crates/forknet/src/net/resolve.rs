//! Names of hosts become addresses, by the system's resolver.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use sys::nss::use_built_in_services;

/// Returns the addresses of a host, in the resolver's order. `localhost` has its own on a machine without /etc/hosts too
/// (RFC 6761 §6.3).
///
/// # Errors
/// The name has no address, or cannot be looked up.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    use_built_in_services();
    // /etc/hosts has no dot at the end, and resolvers do not take it away.
    let is_localhost = host.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    let host = if is_localhost { "localhost" } else { host };
    match (host, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(_) if is_localhost => {
            Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()])
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_the_loopback_addresses_in_any_spelling() {
        for name in ["localhost", "LocalHost", "localhost."] {
            let found = resolve(name, 110).unwrap();
            assert!(!found.is_empty(), "{name}");
            assert!(found.iter().all(|at| at.ip().is_loopback() && at.port() == 110), "{found:?}");
        }
        assert_eq!(resolve("127.0.0.1", 1).unwrap(), [(Ipv4Addr::LOCALHOST, 1).into()]);
    }
}
