//! getnameinfo(3): from an address to its name (RFC 3493 §6.2).

use std::ffi::{CStr, CString, c_char, c_int};
use std::net::SocketAddr;

use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use crate::getaddrinfo::GaiError;
use crate::nss::use_built_in_services;

/// `NI_MAXHOST` of netdb.h: room for a host's name and its NUL, in bytes.
const NI_MAXHOST: usize = 1025;
/// `NI_MAXSERV` of netdb.h: room for a service's name and its NUL, in bytes.
const NI_MAXSERV: usize = 32;

/// getnameinfo(3): returns the names of an address and of a port, as their owners chose them. `flags`
/// are those of netdb.h: `NI_NAMEREQD` (no name is an error; without it the digits stand for it),
/// `NI_NUMERICHOST`, `NI_NUMERICSERV`, `NI_DGRAM` (the service by UDP).
///
/// # Errors
/// The resolver's.
pub fn getnameinfo(address: SocketAddr, flags: c_int) -> Result<(CString, CString), GaiError> {
    use_built_in_services();
    let address = SockaddrStorage::from(address);
    let mut host: [c_char; NI_MAXHOST] = [0; NI_MAXHOST];
    let mut service: [c_char; NI_MAXSERV] = [0; NI_MAXSERV];
    // SAFETY: the address and both buffers live through the call, each with its true length.
    let code = unsafe {
        libc::getnameinfo(
            address.as_ptr(),
            address.len(),
            host.as_mut_ptr(),
            host.len() as libc::socklen_t,
            service.as_mut_ptr(),
            service.len() as libc::socklen_t,
            flags,
        )
    };
    if code != 0 {
        return Err(GaiError { code, errno: Errno::last() });
    }
    // SAFETY: getnameinfo has succeeded, so both buffers hold a string that ends in NUL.
    let [host, service] = unsafe { [host.as_ptr(), service.as_ptr()].map(|s| CStr::from_ptr(s)) };
    Ok((host.to_owned(), service.to_owned()))
}
