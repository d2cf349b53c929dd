//! The resolver both ways: getaddrinfo from a name to addresses, getnameinfo from an address to
//! its name (RFC 3493 §6.1, §6.2); they came after the slides' gethostbyname and gethostbyaddr.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::net::SocketAddr;
use std::ptr;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage};

use crate::error::strerror;
use crate::nss::built_in_services_only;
use crate::transcript::printable;

/// netdb.h of glibc; libc has no name for it.
const EAI_ADDRFAMILY: c_int = -9;

/// Why the resolver gave no answer: one of the EAI codes of netdb.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// `EAI_NONAME` and so on.
    pub code: c_int,
    /// The reason behind `EAI_SYSTEM`.
    errno: Errno,
}

impl NoAnswer {
    fn new(code: c_int) -> NoAnswer {
        NoAnswer { code, errno: Errno::last() }
    }

    /// The code's name in netdb.h.
    #[must_use]
    pub fn symbol(&self) -> &'static str {
        match self.code {
            EAI_ADDRFAMILY => "EAI_ADDRFAMILY",
            libc::EAI_AGAIN => "EAI_AGAIN",
            libc::EAI_BADFLAGS => "EAI_BADFLAGS",
            libc::EAI_FAIL => "EAI_FAIL",
            libc::EAI_FAMILY => "EAI_FAMILY",
            libc::EAI_MEMORY => "EAI_MEMORY",
            libc::EAI_NODATA => "EAI_NODATA",
            libc::EAI_NONAME => "EAI_NONAME",
            libc::EAI_OVERFLOW => "EAI_OVERFLOW",
            libc::EAI_SERVICE => "EAI_SERVICE",
            libc::EAI_SOCKTYPE => "EAI_SOCKTYPE",
            libc::EAI_SYSTEM => "EAI_SYSTEM",
            _ => "EAI_?",
        }
    }
}

/// As gai_strerror(3) says it; behind `EAI_SYSTEM` as errno says it.
impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code == libc::EAI_SYSTEM {
            return f.write_str(&strerror(self.errno));
        }
        // SAFETY: gai_strerror takes any number and gives a constant string that ends in NUL.
        let text = unsafe { CStr::from_ptr(libc::gai_strerror(self.code)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl std::error::Error for NoAnswer {}

/// What getaddrinfo found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name that the one asked for stands for (`AI_CANONNAME`); what does not print is escaped.
    pub canonical: String,
    /// Its addresses in the order in which they are to be tried (RFC 6724).
    pub addresses: Vec<SocketAddr>,
}

/// getaddrinfo(3): a host's name, or its address in digits, and a service's name or port (none:
/// port 0). `AddressFamily::Unspec` asks for IPv4 and IPv6. Waits as long as resolv.conf(5) says.
///
/// # Errors
/// The resolver's; `EAI_NONAME` too for a name with a NUL in it.
pub fn getaddrinfo(
    host: &str,
    service: Option<&str>,
    family: AddressFamily,
    kind: SockType,
) -> Result<Found, NoAnswer> {
    built_in_services_only();
    let text = |s: &str| CString::new(s).map_err(|_| NoAnswer::new(libc::EAI_NONAME));
    let host = text(host)?;
    let service = service.map(text).transpose()?;
    // SAFETY: addrinfo is numbers and pointers, for which zero is a value.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = family as c_int;
    hints.ai_socktype = kind as c_int;
    hints.ai_flags = libc::AI_CANONNAME;
    let mut list = ptr::null_mut();
    // SAFETY: the strings end in NUL and live through the call, hints is filled in as netdb.h
    // wants it, and list takes the pointer to what getaddrinfo allocates.
    let code = unsafe {
        let service = service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
        libc::getaddrinfo(host.as_ptr(), service, &raw const hints, &raw mut list)
    };
    if code != 0 {
        return Err(NoAnswer::new(code));
    }
    // SAFETY: getaddrinfo has succeeded: list is its, well-formed, and given back just once.
    Ok(unsafe {
        let found = copied(list);
        libc::freeaddrinfo(list);
        found
    })
}

/// # Safety
/// `list` is what getaddrinfo gave, and not yet freed.
unsafe fn copied(list: *const libc::addrinfo) -> Found {
    let mut found = Found { canonical: String::new(), addresses: Vec::new() };
    let mut next = list;
    // SAFETY: each pointer in the list is null or points to the next entry.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: ai_addr has ai_addrlen octets.
        let address = unsafe { SockaddrStorage::from_raw(entry.ai_addr, Some(entry.ai_addrlen)) };
        found.addresses.extend(address.as_ref().and_then(ip_address));
        if !entry.ai_canonname.is_null() {
            // SAFETY: it is not null, so it is a string that ends in NUL.
            let name = unsafe { CStr::from_ptr(entry.ai_canonname) };
            found.canonical = printable(name.to_bytes());
        }
        next = entry.ai_next;
    }
    found
}

fn ip_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

/// getnameinfo(3): the names of an address and of a port. `flags` are those of netdb.h:
/// `NI_NAMEREQD` (no name is an error; without it the digits stand for it), `NI_NUMERICHOST`,
/// `NI_NUMERICSERV`, `NI_DGRAM` (the service by UDP). What does not print is escaped: whoever owns
/// an address chooses its name.
///
/// # Errors
/// The resolver's.
pub fn getnameinfo(address: SocketAddr, flags: c_int) -> Result<(String, String), NoAnswer> {
    built_in_services_only();
    let address = SockaddrStorage::from(address);
    let mut host: [c_char; MAX_HOST] = [0; MAX_HOST];
    let mut service: [c_char; MAX_SERVICE] = [0; MAX_SERVICE];
    // SAFETY: the address is as long as it says, and so are both buffers.
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
        return Err(NoAnswer::new(code));
    }
    // SAFETY: getnameinfo has succeeded, so both buffers hold a string that ends in NUL.
    let [host, service] = unsafe { [host.as_ptr(), service.as_ptr()].map(|s| CStr::from_ptr(s)) };
    Ok((printable(host.to_bytes()), printable(service.to_bytes())))
}

/// `NI_MAXHOST` of netdb.h.
const MAX_HOST: usize = 1025;
/// `NI_MAXSERV`.
const MAX_SERVICE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_need_no_resolver_in_either_direction() {
        let found = getaddrinfo("127.0.0.1", Some("25"), AddressFamily::Unspec, SockType::Stream);
        assert_eq!(found.unwrap().addresses, ["127.0.0.1:25".parse().unwrap()]);
        let flags = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
        let named = getnameinfo("[::1]:25".parse().unwrap(), flags);
        assert_eq!(named.unwrap(), ("::1".into(), "25".into()));
    }

    #[test]
    fn what_cannot_be_asked_is_an_error_in_the_resolver_s_own_words() {
        let ask = |host, service, family| getaddrinfo(host, service, family, SockType::Stream);
        let error = ask("a\0b", None, AddressFamily::Unspec).unwrap_err();
        assert_eq!(error.symbol(), "EAI_NONAME");
        assert_eq!(error.to_string(), "Name or service not known");
        let error = ask("127.0.0.1", Some("99999x"), AddressFamily::Unspec).unwrap_err();
        assert_eq!(error.symbol(), "EAI_SERVICE");
        let error = ask("127.0.0.1", None, AddressFamily::Inet6).unwrap_err();
        assert_eq!(error.symbol(), "EAI_ADDRFAMILY");
    }
}
