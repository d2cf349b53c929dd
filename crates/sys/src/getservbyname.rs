//! getservbyname(3) and getservbyport(3): names of services and their ports, from services(5).

use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use libc::servent;

use crate::nss::use_built_in_services;

/// A line of services(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The official name.
    pub name: CString,
    /// Its other names.
    pub aliases: Vec<CString>,
    /// The port, in host byte order (`s_port` is in network byte order).
    pub port: u16,
    /// `tcp`, `udp` …
    pub protocol: CString,
}

/// First size of the buffer for a line of services(5), in bytes.
const FIRST_BUFFER: usize = 1024;
/// Largest size of that buffer, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// getservbyname(3): returns the service of that name, by any protocol where `protocol` is `None`.
#[must_use]
pub fn getservbyname(name: &CStr, protocol: Option<&CStr>) -> Option<Service> {
    look_up(&Key::Name(name), protocol)
}

/// getservbyport(3): returns the service of that port, which is in host byte order, without the
/// htons(3) that the C call needs.
#[must_use]
pub fn getservbyport(port: u16, protocol: Option<&CStr>) -> Option<Service> {
    look_up(&Key::Port(c_int::from(port.to_be())), protocol)
}

enum Key<'a> {
    Name(&'a CStr),
    /// In network byte order.
    Port(c_int),
}

/// Calls the reentrant functions, because the next call overwrites the result of the others.
fn look_up(key: &Key, protocol: Option<&CStr>) -> Option<Service> {
    use_built_in_services();
    let proto = protocol.map_or(ptr::null(), CStr::as_ptr);
    let mut room: Vec<c_char> = vec![0; FIRST_BUFFER];
    loop {
        let (buf, buflen) = (room.as_mut_ptr(), room.len());
        let mut entry = MaybeUninit::uninit();
        let (result_buf, mut result) = (entry.as_mut_ptr(), ptr::null_mut());
        let result_at = &raw mut result;
        // SAFETY: the name ends in NUL and so does proto, which may also be null. They, entry, room
        // and result live through the call, and buflen is the length of room.
        let code = unsafe {
            match *key {
                Key::Name(name) => {
                    let name = name.as_ptr();
                    netdb::getservbyname_r(name, proto, result_buf, buf, buflen, result_at)
                }
                Key::Port(port) => {
                    netdb::getservbyport_r(port, proto, result_buf, buf, buflen, result_at)
                }
            }
        };
        match code {
            libc::ERANGE if buflen < MAX_BUFFER => room.resize(2 * buflen, 0),
            // SAFETY: the call has succeeded, so result is null or points to entry, whose strings lie
            // in room; both are alive and nothing has changed them since.
            0 => return unsafe { result.as_ref().map(|entry| copied(entry)) },
            _ => return None,
        }
    }
}

/// # Safety
/// `entry` is the result of a call below, and its strings are alive.
unsafe fn copied(entry: &servent) -> Service {
    // SAFETY: netdb.h: the names end in NUL, the list of aliases ends in a null pointer.
    unsafe {
        let text = |s: *const c_char| CStr::from_ptr(s).to_owned();
        let mut aliases = Vec::new();
        let mut next = entry.s_aliases;
        while !(*next).is_null() {
            aliases.push(text(*next));
            next = next.add(1);
        }
        Service {
            name: text(entry.s_name),
            aliases,
            port: u16::from_be(entry.s_port as u16),
            protocol: text(entry.s_proto),
        }
    }
}

/// libc does not declare these for Linux; glibc and musl have them, in this form.
mod netdb {
    use super::{c_char, c_int, servent};

    unsafe extern "C" {
        pub(super) fn getservbyname_r(
            name: *const c_char,
            proto: *const c_char,
            result_buf: *mut servent,
            buf: *mut c_char,
            buflen: usize,
            result: *mut *mut servent,
        ) -> c_int;

        pub(super) fn getservbyport_r(
            port: c_int,
            proto: *const c_char,
            result_buf: *mut servent,
            buf: *mut c_char,
            buflen: usize,
            result: *mut *mut servent,
        ) -> c_int;
    }
}
