//! printf, a line at a time.

use std::fmt::Display;
use std::io::{self, Write};

use crate::error::{Result, err_sys};

/// Writes a line to standard output: what the program is there to show.
///
/// # Errors
/// It cannot be written, to a closed pipe or a full disk.
pub fn say(line: impl Display) -> Result {
    writeln!(io::stdout(), "{line}").map_err(err_sys("standard output"))
}

/// Formats bytes as `01 02 ff`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
