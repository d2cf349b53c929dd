//! Settings of the resolver in place of resolv.conf(5) and nsswitch.conf(5): the DNS server, and
//! the sources of host names.

use std::net::SocketAddrV4;

pub use sys::nss::{Sources, look_up_hosts_in};

/// Makes the calling thread's resolver ask this DNS server alone, once, and wait `seconds` for its
/// answer (1 at least). It asks for names as they stand, without the domains of resolv.conf.
///
/// # Errors
/// ENOSYS where the C library is not glibc; res_init(3)'s own.
pub fn ask_dns_server(server: SocketAddrV4, seconds: u8) -> nix::Result<()> {
    sys::resolver::res_init(server, seconds.max(1), 1)
}
