//! getaddrinfo(3) and gai_strerror(3): from a name to addresses (RFC 3493 §6.1).

use std::ffi::{CStr, CString, c_int};
use std::net::SocketAddr;
use std::ptr;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage};

use crate::nss::use_built_in_services;

/// Why the resolver gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaiError {
    /// One of the EAI codes of netdb.h.
    pub code: c_int,
    /// The reason of `EAI_SYSTEM`.
    pub errno: Errno,
}

/// What getaddrinfo found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddrInfo {
    /// The canonical name of the host (`AI_CANONNAME`), as its owner chose it.
    pub canonname: CString,
    /// The host's addresses in the order in which they are to be tried (RFC 6724).
    pub addresses: Vec<SocketAddr>,
}

/// getaddrinfo(3): looks up a host's name, or its address in digits, and a service's name or port
/// (none: port 0). `AddressFamily::Unspec` asks for IPv4 and IPv6. Waits as resolv.conf(5) says.
///
/// # Errors
/// The resolver's.
pub fn getaddrinfo(
    node: &CStr,
    service: Option<&CStr>,
    family: AddressFamily,
    socktype: SockType,
) -> Result<AddrInfo, GaiError> {
    use_built_in_services();
    // SAFETY: addrinfo is numbers and pointers, for which zero is a value.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = family as c_int;
    hints.ai_socktype = socktype as c_int;
    hints.ai_flags = libc::AI_CANONNAME;
    let service = service.map_or(ptr::null(), CStr::as_ptr);
    let mut list = ptr::null_mut();
    // SAFETY: node ends in NUL and so does service, which may also be null; both live through the
    // call. hints is filled in as netdb.h requires, and list takes the pointer to what getaddrinfo
    // allocates.
    let code =
        unsafe { libc::getaddrinfo(node.as_ptr(), service, &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(GaiError { code, errno: Errno::last() });
    }
    // SAFETY: getaddrinfo has succeeded, so list is well-formed and this function's alone; nothing
    // refers to it after the copy, and it is freed once.
    Ok(unsafe {
        let found = copied(list);
        libc::freeaddrinfo(list);
        found
    })
}

/// # Safety
/// `list` is getaddrinfo's result, not yet freed.
unsafe fn copied(list: *const libc::addrinfo) -> AddrInfo {
    let mut found = AddrInfo::default();
    let mut next = list;
    // SAFETY: each pointer in the list is null or points to the next entry.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: ai_addr has ai_addrlen bytes.
        let address = unsafe { SockaddrStorage::from_raw(entry.ai_addr, Some(entry.ai_addrlen)) };
        found.addresses.extend(address.as_ref().and_then(ip_address));
        if !entry.ai_canonname.is_null() {
            // SAFETY: it is not null, so it is a string that ends in NUL.
            found.canonname = unsafe { CStr::from_ptr(entry.ai_canonname) }.to_owned();
        }
        next = entry.ai_next;
    }
    found
}

fn ip_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

/// gai_strerror(3): returns the text of an EAI code.
#[must_use]
pub fn gai_strerror(code: c_int) -> CString {
    // SAFETY: gai_strerror takes any number and gives a constant string that ends in NUL.
    unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_owned()
}
