//! Logs a fault of the administrator's files once for a client, with the client that has met it: it may ask
//! again and again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use forknet::Peer;

/// Most different lines of one client, a number.
const MAX_LINES: usize = 50;

/// The client that this process answers, and the lines that were logged for it.
static LOGGED: Mutex<(Option<Peer>, BTreeSet<String>)> = Mutex::new((None, BTreeSet::new()));

/// Notes the client for which this process works.
pub fn set_client(peer: Peer) {
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(peer);
}

/// Forgets the client, and what was logged for it.
pub fn forget_client() {
    *LOGGED.lock().unwrap_or_else(PoisonError::into_inner) = (None, BTreeSet::new());
}

/// Logs a line, if it was not logged for this client yet.
pub fn log_once(level: log::Level, line: String) {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    let (peer, lines) = &mut *logged;
    if lines.len() < MAX_LINES && !lines.contains(&line) {
        match peer {
            Some(peer) => log::log!(level, "{peer}: {line}"),
            None => log::log!(level, "{line}"),
        }
        lines.insert(line);
    }
}
