//! setrlimit(2): the limits of a server and its children.
//!
//! Set once in the parent, before it serves, and inherited, so that no client costs a system call.
//! Limits are only lowered; a lower limit of the administrator stays. Only the limit of open files
//! is raised, up to the hard limit.

use log::{debug, warn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;

use crate::error::strerror;

/// Address space of the parent's tables for each client, in bytes.
const TABLE_BYTES: u64 = 512;
/// Bytes that a file may have besides a client's data, for what the server adds.
const MARGIN: u64 = 1 << 20;
/// Descriptors of the server itself: listeners, log, spare descriptor, and those of one session.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors of a session: the connection and a few files.
const SESSION_DESCRIPTORS: u64 = 4;

/// The needs of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Most clients at a time.
    pub(crate) clients: u64,
    /// Most processes for them.
    pub(crate) processes: u64,
    /// Serves all clients in one process.
    pub(crate) is_shared: bool,
    /// Address space of a process with one client, in bytes.
    pub(crate) memory: u64,
    /// Longest file that a client may make, in bytes; `None` is no limit.
    pub(crate) file: Option<u64>,
}

/// Sets the limits. Logs those that cannot be set or do not suffice.
pub(crate) fn set(needs: Needs) {
    lower(Resource::RLIMIT_CORE, 0); // a core file could hold passwords and mail
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

/// Lowers the soft and the hard limit, so that a child cannot raise it again.
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
    // An idle session has only its connection open.
    let least = if needs.is_shared { needs.clients + OWN_DESCRIPTORS } else { OWN_DESCRIPTORS };
    if allowed < least {
        complain(needs.clients, "open files", hard);
    }
}

/// Warns if the limit of processes, which is per user and not for root, is too low.
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
