//! Names of hosts in a statically linked program.
//!
//! glibc looks names up with modules named in nsswitch.conf(5). Those that are not built in would be
//! loaded into this program at run time, each with a second C library of its own, and a program
//! that is linked statically does not survive that. So hosts are looked up in /etc/hosts and DNS,
//! whatever nsswitch.conf says; for users see `passwd.rs`.

use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

/// What is asked for what: the modules that are built into glibc (2.34 and newer).
const SERVICES: [(&CStr, &CStr); 2] = [(c"hosts", c"files dns"), (c"services", c"files")];

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// nss.h: the services that are asked for a database, in place of what nsswitch.conf says.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// Elsewhere there are no modules.
#[cfg(not(target_env = "gnu"))]
unsafe fn __nss_configure_lookup(_database: *const c_char, _services: *const c_char) -> c_int {
    0
}

/// Must be called before a program that is linked statically looks a host's name up. In others the
/// modules are no danger, and nothing is changed.
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

/// Where names of hosts are looked up, in this order: the first that has an answer gives it.
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

/// Sets where this process looks hosts up from now on, in place of what nsswitch.conf(5) says. C
/// libraries other than glibc have no such choice.
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

/// Asks these services for a database from now on, in this whole process.
fn configure(database: &CStr, services: &CStr) {
    // SAFETY: both are strings that end in NUL, which glibc reads during the call; it takes its own
    // lock around the change, and fails only for a database it does not know.
    let _known = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
}
