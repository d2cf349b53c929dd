//! Output of pop3c.

use std::fmt::Display;
use std::io::{self, Write};

use forknet::Error;

use super::options::NAME;
use super::status::{Failure, Result, Status};

/// Writes to standard output.
///
/// # Errors
/// As write(2).
pub(crate) fn print(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(Error::io("standard output")).map_err(Failure::because(Status::Io))
}

/// Writes an error to standard error.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{NAME}: {text}"); // nowhere else to report
}
