//! smtpc: sends one letter to an SMTP server.
//!
//! The letter is changed as little as SMTP allows: line ends become CRLF, dots are stuffed, a
//! missing last line end is added, and a bare CR becomes a line end, because SMTP forbids it (RFC
//! 5321 §2.3.8). No header field is added, not even `Date:` or `Message-ID:`.

// The order of the modules; each imports from its left only:
//   options letter_file | connection | transaction | (this file)

mod connection;
mod letter_file;
mod options;
mod transaction;

use std::ffi::OsString;

use forknet::{Error, Result};
use maild::client::{ask_password, password_in};

use connection::ServerConnection;
use letter_file::LetterFile;
use options::Options;

pub use options::NAME;

/// Runs the program with its command line.
///
/// # Errors
/// The letter was not accepted for every recipient. Each refused recipient was named on standard
/// error.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let options = Options::parse(args)?;
    let mut letter = LetterFile::from_stdin()?;
    let password = options.login.as_ref().map(|login| match &login.password_file {
        Some(path) => password_in(path, NAME),
        None => ask_password(&login.user, &options.server),
    });
    let password = password.transpose()?;
    let mut conn = ServerConnection::connect(&options)?;
    let refused = transaction::send(&mut conn, &options, password.as_ref(), &mut letter)?;
    if refused == 0 {
        return Ok(());
    }
    Err(Error::Refused(format!("{refused} of {} recipients were refused", options.to.len())))
}
