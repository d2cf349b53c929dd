//! fprintf(stderr, …), a line at a time.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to standard error, by one write: what happened besides the program's own work. A
/// standard error that is closed is no error.
pub fn note(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes()); // best effort
}
