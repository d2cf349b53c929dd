//! Logs a fault of the administrator's files once in a process: a client may ask again and again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Most different lines of one process, a number.
const MAX_LINES: usize = 50;

/// Lines that were logged.
static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Logs a line, if this process has not logged it yet.
pub fn log_once(level: log::Level, line: String) {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() < MAX_LINES && !logged.contains(&line) {
        log::log!(level, "{line}");
        logged.insert(line);
    }
}
