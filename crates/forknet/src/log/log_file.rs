//! A file of a protocol's own to which lines are appended.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::reason;

/// A file to which lines are appended. SIGHUP opens it again; clones share it, a process that was forked before keeps the old
/// one.
#[derive(Clone, Debug)]
pub struct LogFile {
    what: &'static str,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    pub(crate) fn new(what: &'static str, file: File) -> LogFile {
        LogFile { what, file: Arc::new(Mutex::new(file)) }
    }

    /// Appends to another file from now on.
    pub(crate) fn replace(&self, file: File) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    /// Appends a line, which has no line feed yet, by one write(2), so that lines of several processes do not mix. A failure
    /// is logged.
    pub fn append(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            log::warn!("{}: {}", self.what, reason(&error));
        }
    }
}
