//! getservbyname and getservbyport: names of services and their ports, from /etc/services.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use crate::nss::built_in_services_only;
use crate::transcript::printable;

/// A line of services(5); what does not print is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The official name.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// The port, in the host's own order (`s_port` is in network order).
    pub port: u16,
    /// `tcp`, `udp` …
    pub protocol: String,
}

/// getservbyname(3): the service of that name, by any protocol where `protocol` is `None`.
#[must_use]
pub fn getservbyname(name: &str, protocol: Option<&str>) -> Option<Service> {
    let name = CString::new(name).ok()?;
    // SAFETY: both strings live through the call; the second may be null.
    look_up(protocol, |protocol| unsafe { libc::getservbyname(name.as_ptr(), protocol) })
}

/// getservbyport(3): the service of that port, given in the host's own order: the htons(3) that
/// the C call wants is done here.
#[must_use]
pub fn getservbyport(port: u16, protocol: Option<&str>) -> Option<Service> {
    // SAFETY: the string lives through the call, and may be null.
    look_up(protocol, |protocol| unsafe {
        libc::getservbyport(c_int::from(port.to_be()), protocol)
    })
}

/// Both calls give a pointer to memory of their own, which the next call writes over.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn look_up(
    protocol: Option<&str>,
    call: impl FnOnce(*const c_char) -> *mut libc::servent,
) -> Option<Service> {
    built_in_services_only();
    let protocol = protocol.map(CString::new).transpose().ok()?;
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = call(protocol.as_ref().map_or(ptr::null(), |protocol| protocol.as_ptr()));
    // SAFETY: null, or an entry that stays as it is until the next call; this is the only file
    // that makes these calls, and it holds the lock until everything is copied.
    unsafe { entry.as_ref().map(|entry| copied(entry)) }
}

/// # Safety
/// `entry` is what getservbyname or getservbyport gave, and no other call was made since.
unsafe fn copied(entry: &libc::servent) -> Service {
    // SAFETY: netdb.h: the names end in NUL, the list of aliases ends in a null pointer.
    unsafe {
        let text = |s: *const c_char| printable(CStr::from_ptr(s).to_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_file_can_hold_has_no_service() {
        assert_eq!(getservbyname("no such service", Some("tcp")), None);
        assert_eq!(getservbyname("a\0b", None), None);
        assert_eq!(getservbyport(25, Some("no such protocol")), None);
    }
}
