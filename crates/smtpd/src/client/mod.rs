//! smtpc: sends one letter to an SMTP server.
//!
//! The letter is changed as little as SMTP allows: line ends become CRLF, dots are stuffed, a
//! missing last line end is added, and a bare CR becomes a line end, because SMTP forbids it (RFC
//! 5321 §2.3.8). No header field is added, not even `Date:` or `Message-ID:`.

// The order of the modules; each imports from its left only:
//   rows | options letter_file | destination | (this file)

mod destination;
mod letter_file;
mod options;
mod rows;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use dns::Resolver;
use forknet::{Error, HostPort, Values};
use maild::client::{ask_password, password_in};
use smtpclient::{
    Destination, Envelope, Failure, Login, Mailer, Outcome, Place, Settings, Show, Stage, Status,
    Timeouts, TlsUse,
};

use destination::{Recipients, by_destination};
use letter_file::LetterFile;
pub(crate) use letter_file::temporary_file;
use options::{Options, Server, Tls};
pub use options::{Outgoing, Recipient};
pub(crate) use options::{helo as our_name, is_flag, settings};
pub(crate) use rows::NAME;

/// The server for letters of the sendmail command, where the configuration names none: the one of this machine.
const LOCAL: &str = "127.0.0.1";
/// Its port (RFC 5321 §4.5.4.2).
const LOCAL_PORT: u16 = 25;

/// Why the program ends without success: its exit code, and what it says.
#[derive(Debug)]
struct Exit {
    status: Status,
    error: Error,
}

impl Exit {
    fn with_code(self) -> (u8, Error) {
        (self.status as u8, self.error)
    }
}

/// Errors about the command line, and about the letter's file.
impl From<Error> for Exit {
    fn from(error: Error) -> Exit {
        let status = match error {
            Error::Usage(_) | Error::Answer(_) => Status::Usage,
            Error::Os { .. } | Error::Io { .. } | Error::Refused(_) => Status::Io,
        };
        Exit { status, error }
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Exit {
        Exit { status: failure.status, error: Error::Refused(failure.text) }
    }
}

/// Runs the program; `queue` is what `--queue` does. Its exit codes are those of sysexits(3).
#[must_use]
pub fn main(queue: IntoQueue) -> ExitCode {
    forknet::main_with_codes(NAME, |args| run(args, queue))
}

/// A result with the exit code beside an error.
type WithCode<T> = Result<T, (u8, Error)>;

/// Puts the letter on standard input into the queue that these values name.
pub type IntoQueue = fn(&Values, Outgoing) -> WithCode<()>;

fn run(args: Vec<OsString>, queue: IntoQueue) -> WithCode<u8> {
    let values = settings(args).map_err(|error| match error {
        error @ Error::Refused(_) => Exit { status: Status::Config, error }.with_code(),
        error => Exit::from(error).with_code(),
    })?;
    let outgoing = Outgoing::parse(&values).map_err(|error| Exit::from(error).with_code())?;
    if values.is_on_command_line("queue") {
        return queue(&values, outgoing).map(|()| 0);
    }
    let has_progress = !outgoing.is_verbose;
    send_by(&values, outgoing, None, || LetterFile::from_stdin(has_progress))
}

/// Sends a letter of the sendmail command, in a file, by the server that these values name, or else by the one on this
/// machine.
///
/// # Errors
/// The exit code, and what it is: the server does not take the letter for one of the recipients.
pub(crate) fn send_by_server(values: &Values, letter: Outgoing, file: File) -> WithCode<()> {
    let local = HostPort { host: LOCAL.to_owned(), port: LOCAL_PORT };
    send_by(values, letter, Some(local), || LetterFile::from_file(file)).map(|_| ())
}

fn send_by(
    values: &Values,
    outgoing: Outgoing,
    default: Option<HostPort>,
    letter: impl FnOnce() -> forknet::Result<LetterFile>,
) -> WithCode<u8> {
    let sent = Options::new(values, outgoing, default).and_then(|options| Ok((options, letter()?)));
    let sent = sent.map_err(Exit::from).and_then(|(options, letter)| send_all(&options, letter));
    sent.map_err(Exit::with_code)
}

/// Sends the letter to each destination. Returns the exit code.
///
/// # Errors
/// The letter cannot be read, or the one server has refused it.
fn send_all(options: &Options, mut letter: LetterFile) -> Result<u8, Exit> {
    let settings = Arc::new(how(options)?);
    let mut refused: Vec<Failure> = Vec::new();
    let destinations = by_destination(options);
    let is_one = destinations.len() == 1;
    for recipients in &destinations {
        let outcomes = send(options, &settings, recipients, &mut letter);
        let failures: Vec<Failure> = outcomes.into_iter().filter_map(Result::err).collect();
        match failures.first() {
            // It is printed at the end.
            Some(first) if is_one && is_of_all(&failures, recipients) => {
                return Err(first.clone().into());
            }
            Some(first) if is_of_all(&failures, recipients) => complain(first),
            _ => failures.iter().for_each(complain),
        }
        refused.extend(failures);
    }
    let Some(worst) = worst(&refused) else { return Ok(0) };
    let (count, all) = (refused.len(), options.to.len());
    let why = if count < all || !is_one {
        format!("{count} of {all} recipients were refused")
    } else {
        "every recipient was refused, nothing was sent".into()
    };
    Err(Exit { status: worst, error: Error::Refused(why) })
}

/// How the letter is sent, as the options say.
fn how(options: &Options) -> Result<Settings, Exit> {
    let trusted = || {
        let client = tls::Client::new(options.ca_file.as_deref());
        client.map_err(|error| Exit::from(Error::from(error)))
    };
    let tls = match (options.tls, &options.server) {
        (Tls::Never, Server::Given(_)) => TlsUse::Never,
        (Tls::Never, Server::ByMx { .. }) => TlsUse::Opportunistic,
        (Tls::ByCommand, _) => TlsUse::Required(trusted()?),
        (Tls::Implicit, _) => TlsUse::Implicit(trusted()?),
    };
    let show = |sender: char, line: &str| {
        let _ = writeln!(io::stderr(), "{sender}: {line}"); // best effort
    };
    Ok(Settings {
        timeouts: options.timeout.map_or(Timeouts::RFC, Timeouts::all),
        tls,
        login: login(options)?,
        show: options.verbose.then(|| Show::new(show)),
        ..Settings::new(&options.helo)
    })
}

fn login(options: &Options) -> Result<Option<Login>, Exit> {
    let (Some(login), Server::Given(server)) = (&options.login, &options.server) else {
        return Ok(None);
    };
    let password = match &login.password_file {
        Some(path) => password_in(path, NAME)?,
        None => ask_password(&login.user, server)?,
    };
    Ok(Some(Login { user: login.user.clone(), password, mechanisms: login.sasl }))
}

/// Sends the letter to a destination. Returns what has become of each recipient.
fn send(
    options: &Options,
    settings: &Arc<Settings>,
    recipients: &Recipients<'_>,
    letter: &mut LetterFile,
) -> Vec<Outcome> {
    let all = |failure: &Failure| recipients.to.iter().map(|_| Err(failure.clone())).collect();
    let mailer = destination(options, recipients.domain)
        .and_then(|destination| Mailer::new(settings, destination));
    let mut mailer = match mailer {
        Ok(mailer) => mailer,
        Err(failure) => return all(&failure),
    };
    let outcomes = mailer.send(&envelope(options, recipients), letter);
    if !options.verbose {
        mailer.take_earlier().iter().for_each(complain);
    }
    mailer.quit();
    outcomes
}

fn envelope<'a>(options: &'a Options, recipients: &Recipients<'a>) -> Envelope<'a> {
    let to = recipients.to.iter().map(|to| smtpclient::Recipient {
        address: to.address.as_bytes(),
        notify: to.notify.as_bytes(),
        orcpt: to.orcpt.as_bytes(),
    });
    Envelope {
        from: options.from.as_bytes(),
        ret: options.ret.as_bytes(),
        envid: options.envid.as_bytes(),
        to: to.collect(),
        ..Envelope::default()
    }
}

fn destination(options: &Options, domain: Option<&str>) -> Result<Destination, Failure> {
    let (port, resolver) = match &options.server {
        Server::Given(server) => return Ok(Destination::Server(Place::Tcp(server.clone()))),
        Server::ByMx { port, resolver } => (*port, resolver),
    };
    let resolver = match resolver {
        Some(server) => Resolver::of_server(*server),
        None => Resolver::of_system().map_err(|error| {
            let why = format!("/etc/resolv.conf: {}", forknet::reason(&error));
            Failure::of_dns(&dns::Failure::Temporary(why))
        })?,
    };
    // Nothing is left out for being this host: a server on it may take the letter.
    let (domain, own_names) = (domain.unwrap_or_default().to_owned(), Vec::new());
    Ok(Destination::Domain { domain, port, resolver, own_names })
}

/// Returns whether the letter has failed for all recipients with one reason, which is none of them.
fn is_of_all(failures: &[Failure], recipients: &Recipients<'_>) -> bool {
    let Some(first) = failures.first() else { return false };
    let is_closing = first.reply.as_ref().is_some_and(smtpclient::Reply::is_closing);
    failures.len() == recipients.to.len()
        && failures.iter().all(|failure| failure.text == first.text)
        && (first.stage != Stage::Recipient || first.reply.is_none() || is_closing)
}

/// Prints a failure to standard error.
fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr(), "{NAME}: {failure}"); // nowhere else to tell
}

/// Returns the kind that the exit code tells: one that no later try changes, before one that may be tried again.
fn worst(failures: &[Failure]) -> Option<Status> {
    let lasting = failures.iter().find(|failure| failure.status != Status::Temporary);
    lasting.or(failures.first()).map(|failure| failure.status)
}
