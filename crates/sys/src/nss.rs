//! Names of hosts in a statically linked program.
//!
//! glibc looks names up with the modules of nsswitch.conf(5). It loads those that are not built in
//! at run time, each with a second C library, and a statically linked program crashes on that. So
//! hosts are looked up in /etc/hosts and DNS, whatever nsswitch.conf says. For users see
//! `passwd.rs`.

use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

/// The databases, each with the modules for it that are built into glibc (2.34 and newer).
const SERVICES: [(&CStr, &CStr); 2] = [(c"hosts", c"files dns"), (c"services", c"files")];

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// nss.h: sets the services of a database, in place of those of nsswitch.conf.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// Other C libraries have no modules.
#[cfg(not(target_env = "gnu"))]
unsafe fn __nss_configure_lookup(_database: *const c_char, _services: *const c_char) -> c_int {
    0
}

/// Restricts the lookup to modules that are built in. Call it before a statically linked program
/// looks up a host; in others it changes nothing.
pub fn use_built_in_services() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if cfg!(target_feature = "crt-static") {
            for (database, services) in SERVICES {
                configure(database, services);
            }
        }
    });
}

/// The sources of host names, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// /etc/hosts alone.
    Files,
    /// DNS alone.
    Dns,
    /// /etc/hosts before DNS, as usual.
    FilesDns,
    /// DNS before /etc/hosts.
    DnsFiles,
}

/// Sets the sources of host names for this process, in place of those of nsswitch.conf(5). Does
/// nothing with C libraries other than glibc.
pub fn look_up_hosts_in(sources: Sources) {
    use_built_in_services();
    let services = match sources {
        Sources::Files => c"files",
        Sources::Dns => c"dns",
        Sources::FilesDns => c"files dns",
        Sources::DnsFiles => c"dns files",
    };
    configure(c"hosts", services);
}

/// Sets the services of a database for this process.
fn configure(database: &CStr, services: &CStr) {
    // SAFETY: both are strings that end in NUL, which glibc reads during the call; it takes its own
    // lock around the change, and fails only for a database it does not know.
    let _known = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
}
