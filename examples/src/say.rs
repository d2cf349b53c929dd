//! printf and fprintf(stderr, …), a line at a time.

use std::fmt::Display;
use std::io::{self, Write};

use crate::error::{Result, err_sys};

/// A line to standard output: what the program is there to show.
///
/// # Errors
/// Nobody reads it: a pipe that is closed, a disk that is full.
pub fn say(line: impl Display) -> Result {
    writeln!(io::stdout(), "{line}").map_err(err_sys("standard output"))
}

/// A line to standard error, by one write: what went on beside that. If nobody reads it, never mind.
pub fn note(line: impl Display) {
    let _nobody_reads = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Octets for people: `01 02 ff`.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(" ")
}
