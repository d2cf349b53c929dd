//! pop3c, a client of POP3 (RFC 1939 §3 to §7).
//!
//! ```text
//! pop3c [-u USER] [--password-file F] [--stls|--tls] HOST[:PORT] stat|list|uidl|get N|top N K|dele N|fetch TO
//! pop3c [ACCOUNT]...
//! ```
//!
//! The server is not trusted. Lines, listings and messages have limits. A message ends at its final
//! dot and not at the size of LIST. All output is escaped except for the requested letter, which is so
//! where a terminal would show it.

// The order of the modules; each imports from its left only:
//   rows status bare_lf | target | options | accounts_file | command_line | output progress connection
//   | capabilities | password tls login listing | filters | deliver seen | fetch | commands | (this file)

mod accounts_file;
mod bare_lf;
pub mod capabilities;
mod command_line;
mod commands;
pub mod connection;
mod deliver;
mod fetch;
mod filters;
pub mod listing;
mod login;
mod options;
mod output;
mod password;
mod progress;
mod rows;
mod seen;
pub mod status;
mod target;
mod tls;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use accounts::Secret;
use forknet::{Connection, Error, Stop};

use connection::ServerConnection;
use fetch::{Fetcher, Summary};
use options::{Fetch, Operation, Options, Tls};
use output::{complain, print};
use seen::Seen;
use status::{Failure, Result, Status};
use tls::Security;

/// Longest time to end in order after SIGINT or SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the program. Its exit codes are those of sysexits(3).
#[must_use]
pub fn main() -> ExitCode {
    forknet::main_with_codes(options::NAME, |args| {
        run(args).map_err(|failure| (failure.code(), failure.error))
    })
}

/// Performs the command, for one account after the other. Returns the exit code: that of the first failure.
///
/// # Errors
/// The command line or the accounts file is wrong.
fn run(args: Vec<OsString>) -> Result<u8> {
    let accounts = command_line::read(args)?;
    // All are asked for at first, while Ctrl-C still ends a prompt.
    let passwords: Vec<Result<Secret>> = accounts.iter().map(password::password).collect();
    let mut code = 0;
    for (options, password) in accounts.iter().zip(passwords) {
        let done = password.and_then(|password| perform(options, &password));
        if let Err(failure) = done {
            code = if code == 0 { failure.code() } else { code };
            complain(failure.of_account(options.name.as_deref()).error);
        }
        if is_stopped(options) {
            break;
        }
    }
    Ok(code)
}

/// Whether a signal has ended the work; without fetch none is caught.
fn is_stopped(options: &Options) -> bool {
    matches!(options.operation, Operation::Fetch(_)) && Stop::is_wanted_by_now()
}

/// Connects, logs in, performs the operation, and sends QUIT.
fn perform(options: &Options, password: &Secret) -> Result<()> {
    match &options.operation {
        Operation::Fetch(fetch) => fetch_mail(options, fetch, password),
        _ => {
            let mut conn = open(options, password, None)?;
            let done = commands::perform(&mut conn, &options.operation);
            done.and(quit(&mut conn))
        }
    }
}

/// Fetches the mail of an account. The summary is printed also where that fails.
fn fetch_mail(options: &Options, fetch: &Fetch, password: &Secret) -> Result<()> {
    let stop = Stop::catch(GRACE)?;
    let seen = Seen::open(options, fetch)?;
    let delivery = deliver::open(fetch, stop, options.timeout)?;
    let mut conn = open(options, password, Some(stop))?;
    let shows_progress = !options.quiet && !options.verbose;
    let mut fetcher = Fetcher { fetch, delivery, seen, shows_progress, stop };
    let mut summary = Summary::default();
    let done = fetcher.run(&mut conn, &mut summary);
    drop(fetcher);
    let ended = quit(&mut conn);
    summary.is_removed = ended.is_ok() && !conn.is_broken();
    let done = done.and(ended);
    let failure = summary.failure();
    let account = options.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let done = done.and(failure.map_or(Ok(()), Err));
    match (options.quiet, &done) {
        (true, Ok(())) => {}
        (true, Err(_)) if summary.stored == 0 => {}
        (true, Err(_)) => complain(format_args!("{account}{summary}")),
        (false, _) => return print(format_args!("{account}{summary}\n")).and(done),
    }
    done
}

/// Connects and logs in.
fn open(
    options: &Options,
    password: &Secret,
    stop: Option<Stop>,
) -> Result<ServerConnection<Connection>> {
    let security = Security::new(options)?;
    let server = &options.server;
    let connected = forknet::connect(&server.host, server.port, options.timeout);
    let mut conn = connected.map_err(|error| match error {
        Error::Io { .. } => Failure::because(Status::NoHost)(error),
        _ => Failure::because(Status::Temporary)(error),
    })?;
    if let Some(stop) = stop {
        stop.watch(&mut conn);
    }
    let is_loopback = maild::client::is_loopback(&conn);
    let (mut conn, bindings) = security.start(conn)?;
    let is_private = is_loopback || options.tls != Tls::Never;
    if let Operation::Fetch(_) = &options.operation {
        login::ask_for_utf8(&mut conn)?; // what is deleted afterwards is kept as it was
    }
    if options.sasl.is_empty() {
        login::log_in(&mut conn, options, password, is_private)?;
    } else {
        login::authenticate(&mut conn, options, password, (bindings, is_private))?;
    }
    Ok(conn)
}

/// Ends the session with QUIT, also after a command that was refused; not where the connection is lost, which
/// is an error already.
fn quit(conn: &mut ServerConnection<Connection>) -> Result<()> {
    if conn.is_broken() {
        return Ok(());
    }
    conn.command("QUIT").map(|_| ())
}
