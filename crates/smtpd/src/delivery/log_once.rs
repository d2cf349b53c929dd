//! Logs a fault of the administrator's files once in a process, with the client that has met it: a client may ask
//! again and again.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use forknet::Peer;

/// Most different lines of one process, a number.
const MAX_LINES: usize = 50;

/// Lines that were logged.
static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The client that this process answers: it is forked for one session.
static CLIENT: OnceLock<Peer> = OnceLock::new();

/// Notes the client for which this process works.
pub fn set_client(peer: Peer) {
    CLIENT.get_or_init(|| peer);
}

/// Logs a line, if this process has not logged it yet.
pub fn log_once(level: log::Level, line: String) {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() < MAX_LINES && !logged.contains(&line) {
        match CLIENT.get() {
            Some(peer) => log::log!(level, "{peer}: {line}"),
            None => log::log!(level, "{line}"),
        }
        logged.insert(line);
    }
}
