//! What the kernel lets a server and its children have: setrlimit(2).
//!
//! Set once in the parent, just before it serves, and inherited: that costs no client a system
//! call. A limit is only ever lowered; one that the administrator has set lower stays. The limit of
//! open files alone is raised, up to what he allows.

use log::{debug, warn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;

use crate::error::strerror;

/// Address space for each client that may be served at once: the parent's tables.
const TABLE_BYTES: u64 = 512;
/// A file may be so much longer than what a client may send: what the server writes into it too.
const MARGIN: u64 = 1 << 20;
/// Descriptors of the server itself: listeners, log, reserve, and what one session opens.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors of a session: the connection and a few files.
const SESSION_DESCRIPTORS: u64 = 4;

/// What a server needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Clients at once.
    pub(crate) clients: u64,
    /// Processes that are forked for them at most.
    pub(crate) processes: u64,
    /// All clients are served in this one process.
    pub(crate) is_shared: bool,
    /// Octets of address space of a process with one client.
    pub(crate) memory: u64,
    /// Octets of the longest file that a client may make; none is no limit.
    pub(crate) file: Option<u64>,
}

/// Sets the limits. What cannot be set, and what does not suffice, is told in the log.
pub(crate) fn set(needs: Needs) {
    lower(Resource::RLIMIT_CORE, 0); // passwords and letters stand in a core
    if !needs.is_shared {
        lower(Resource::RLIMIT_AS, needs.memory.saturating_add(needs.clients * TABLE_BYTES));
    }
    if let Some(file) = needs.file {
        lower(Resource::RLIMIT_FSIZE, file.saturating_add(MARGIN));
    }
    let each = if needs.is_shared { needs.clients * SESSION_DESCRIPTORS } else { 0 };
    raise_descriptors(each + OWN_DESCRIPTORS, needs);
    warn_of_processes(needs);
}

/// The soft and the hard limit, so that a child cannot undo it.
fn lower(resource: Resource, to: u64) {
    let lowered = getrlimit(resource).and_then(|(soft, hard)| {
        if hard <= to { Ok(()) } else { setrlimit(resource, soft.min(to), to) }
    });
    if let Err(errno) = lowered {
        warn!("{resource:?} {to}: {}", strerror(errno));
    }
}

fn raise_descriptors(wanted: u64, needs: Needs) {
    let resource = Resource::RLIMIT_NOFILE;
    let Ok((soft, hard)) = getrlimit(resource) else { return };
    let allowed = soft.max(hard.min(wanted));
    if allowed > soft {
        match setrlimit(resource, allowed, hard) {
            Ok(()) => debug!("limit of open files: {soft} raised to {allowed}"),
            Err(errno) => warn!("limit of open files: {}", strerror(errno)),
        }
    }
    // Idle sessions hold the connection alone.
    let least = if needs.is_shared { needs.clients + OWN_DESCRIPTORS } else { OWN_DESCRIPTORS };
    if allowed < least {
        complain(needs.clients, "open files", hard);
    }
}

/// Processes are counted for each user; root may have any number.
fn warn_of_processes(needs: Needs) {
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NPROC)
        && soft < needs.processes
        && !geteuid().is_root()
    {
        complain(needs.clients, "processes of this user", soft);
    }
}

fn complain(clients: u64, of_what: &str, limit: u64) {
    warn!("--max-clients {clients} cannot be reached: the limit of {of_what} is {limit}");
}
