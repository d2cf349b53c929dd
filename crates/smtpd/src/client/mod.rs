//! smtpc: hands one letter to an SMTP server.
//!
//! The letter goes as it is: its line ends become CRLF, dots are stuffed, a missing last line end
//! is added, and a CR alone becomes a line end, for SMTP may carry none (RFC 5321 §2.3.8). No
//! header field is added: who wants `Date:` or `Message-ID:` writes them.

mod options;
mod source;
mod transaction;
mod wire;

use std::ffi::OsString;

use forknet::{Error, Result};

use options::Options;
use source::Source;
use wire::Wire;

/// The program's name.
pub const NAME: &str = "smtpc";

/// Runs the program with its command line.
///
/// # Errors
/// Whatever keeps the letter from any of its recipients; each recipient that was refused is named
/// on standard error before.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let options = Options::parse(args)?;
    let mut letter = Source::standard_input()?;
    let mut wire = Wire::connect(&options)?;
    let refused = transaction::send(&mut wire, &options, &mut letter)?;
    if refused == 0 {
        return Ok(());
    }
    Err(Error::Refused(format!("{refused} of {} recipients were refused", options.to.len())))
}
