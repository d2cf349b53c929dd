//! smtpc: sends one letter to an SMTP server.
//!
//! The letter is changed as little as SMTP allows: line ends become CRLF, dots are stuffed, a
//! missing last line end is added, and a bare CR becomes a line end, because SMTP forbids it (RFC
//! 5321 §2.3.8). No header field is added, not even `Date:` or `Message-ID:`.

// The order of the modules; each imports from its left only:
//   options letter_file reply | status | destination | connection | transaction | (this file)

mod connection;
mod destination;
mod letter_file;
mod options;
mod reply;
mod status;
mod transaction;

use std::ffi::OsString;
use std::process::ExitCode;

use accounts::Secret;
use maild::client::{ask_password, password_in};

use connection::ServerConnection;
use destination::{Destination, Next, Target, destinations, each_target};
use letter_file::LetterFile;
use options::{NAME, Options, Server};
use status::{Failure, Result, Status};
use transaction::Envelope;

/// Runs the program. Its exit codes are those of sysexits(3).
#[must_use]
pub fn main() -> ExitCode {
    forknet::main_with_codes(NAME, |args| {
        run(args).map_err(|failure| (failure.code(), failure.error))
    })
}

/// Sends the letter to each destination. Returns the exit code.
///
/// # Errors
/// The command line is wrong, the letter cannot be read, or the one server has refused it.
fn run(args: Vec<OsString>) -> Result<u8> {
    let options = Options::parse(args)?;
    let mut letter = LetterFile::from_stdin()?;
    let password = password(&options)?;
    let mut refused: Vec<Failure> = Vec::new();
    let destinations = destinations(&options);
    let is_one = destinations.len() == 1;
    for destination in &destinations {
        match send(&options, destination, password.as_ref(), &mut letter) {
            Ok(answers) => {
                let failures: Vec<Failure> = answers.into_iter().filter_map(Result::err).collect();
                failures.iter().for_each(Failure::complain);
                refused.extend(failures);
            }
            // It is printed at the end.
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                failure.complain();
                refused.push(failure);
            }
        }
    }
    let Some(worst) = worst(&refused) else { return Ok(0) };
    let (count, all) = (refused.len(), options.to.len());
    let why = if count < all || !is_one {
        format!("{count} of {all} recipients were refused")
    } else {
        "every recipient was refused, nothing was sent".into()
    };
    Err(Failure::new(worst, why))
}

fn password(options: &Options) -> Result<Option<Secret>> {
    let (Some(login), Server::Given(server)) = (&options.login, &options.server) else {
        return Ok(None);
    };
    Ok(Some(match &login.password_file {
        Some(path) => password_in(path, NAME)?,
        None => ask_password(&login.user, server)?,
    }))
}

/// Sends the letter to a destination, by the first of its hosts that takes or refuses it. Returns what has become of
/// each recipient.
///
/// # Errors
/// None of the hosts has answered, or the letter was refused for all.
fn send(
    options: &Options,
    destination: &Destination<'_>,
    password: Option<&Secret>,
    letter: &mut LetterFile,
) -> Result<Vec<Result<()>>> {
    let mut sent = None;
    let found = each_target(options, destination.domain, |target| {
        let attempt = attempt(options, target, destination, password, letter);
        let is_over = match &attempt {
            Ok(_) => true,
            Err(failure) => !failure.tries_another(),
        };
        if let (Some(Err(earlier)), false) = (&sent, options.verbose) {
            Failure::complain(earlier);
        }
        sent = Some(attempt);
        if is_over { Next::Done } else { Next::Another }
    });
    match (sent, found) {
        (Some(Ok(answers)), _) => Ok(answers),
        (_, Err(failure)) | (Some(Err(failure)), Ok(())) => Err(failure),
        (None, Ok(())) => Err(Failure::new(Status::NoHost, "no address to send to")),
    }
}

fn attempt(
    options: &Options,
    target: &Target,
    destination: &Destination<'_>,
    password: Option<&Secret>,
    letter: &mut LetterFile,
) -> Result<Vec<Result<()>>> {
    let mut conn = ServerConnection::connect(options, target)?;
    let to = Envelope { from: &options.from, to: &destination.to };
    transaction::send(&mut conn, options, password, letter, to)
}

/// Returns the kind that the exit code tells: one that no later try changes, before one that may be tried again.
fn worst(failures: &[Failure]) -> Option<Status> {
    let lasting = failures.iter().find(|failure| !failure.is_temporary());
    lasting.or(failures.first()).map(|failure| failure.status)
}
