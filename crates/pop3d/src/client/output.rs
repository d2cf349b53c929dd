//! Output of pop3c.

use std::fmt::Display;
use std::io::{self, Write};

use forknet::{Error, Result};

/// Writes to standard output.
///
/// # Errors
/// As write(2).
pub(crate) fn print(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(Error::io("standard output"))
}
