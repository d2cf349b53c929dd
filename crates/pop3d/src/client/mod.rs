//! pop3c, a client of POP3 (RFC 1939 §3 to §7).
//!
//! ```text
//! pop3c [-u USER] [--password-file F] [--stls|--tls] HOST[:PORT] stat|list|uidl|get N|top N K|dele N|fetch DIR
//! ```
//!
//! The server is not trusted. Lines, listings and messages have limits. A message ends at its final
//! dot and not at the size of LIST. All output is escaped except for the requested letter.

// The order of the modules; each imports from its left only:
//   options connection progress seen output | tls login fetch | (this file)

mod connection;
mod fetch;
mod login;
mod options;
mod output;
mod progress;
mod seen;
mod tls;

use std::ffi::OsString;
use std::io::{self, BufWriter, Read, Write};

use forknet::{Error, Result};

use connection::ServerConnection;
use options::{Operation, Options, Tls};
use output::print;
use progress::ProgressMeter;
use tls::Security;

/// Runs the program: logs in, performs the operation, sends QUIT.
///
/// # Errors
/// The first failure. The exit code is 0 only if all steps succeeded.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let options = options::parse(args)?;
    let password = login::password(&options)?;
    let security = Security::new(&options)?;
    let server = &options.server;
    let conn = forknet::connect(&server.host, server.port, options.timeout)?;
    let is_loopback = maild::client::is_loopback(&conn);
    let (mut conn, bindings) = security.start(conn)?;
    let is_private = is_loopback || options.tls != Tls::Never;
    if options.sasl.is_empty() {
        login::log_in(&mut conn, &options, &password, is_private)?;
    } else {
        login::authenticate(&mut conn, &options, &password, (bindings, is_private))?;
    }
    let done = perform(&mut conn, &options);
    match done {
        Err(error) if conn.is_broken() => Err(error),
        // The server refused a command; the session still ends with QUIT.
        Err(error) => conn.command("QUIT").and(Err(error)),
        Ok(()) => conn.command("QUIT").map(|_| ()),
    }
}

fn perform<S: Read + Write>(conn: &mut ServerConnection<S>, options: &Options) -> Result<()> {
    match &options.operation {
        Operation::Stat => stat(conn),
        Operation::List => rows(conn, "LIST"),
        Operation::Uidl => rows(conn, "UIDL"),
        Operation::Get(number) => letter(conn, &format!("RETR {number}")),
        Operation::Top(number, lines) => letter(conn, &format!("TOP {number} {lines}")),
        Operation::Dele(number) => conn.command(format!("DELE {number}")).map(|_| ()),
        Operation::Fetch(folder) => fetch::fetch(conn, options, folder),
    }
}

fn stat<S: Read + Write>(conn: &mut ServerConnection<S>) -> Result<()> {
    let text = conn.command("STAT")?;
    let mut words = text.split(|&b| b == b' ');
    let mut next = || std::str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
    let (Some(count), Some(octets)) = (next(), next()) else {
        return Err(conn.bad_reply("STAT"));
    };
    let plural = if count == 1 { "" } else { "s" };
    print(format_args!("{count} message{plural}, {octets} octets\n"))
}

fn rows<S: Read + Write>(conn: &mut ServerConnection<S>, command: &str) -> Result<()> {
    conn.command(command)?;
    let rows = conn.listing(command)?;
    let text: String = rows.iter().map(|row| format!("{}\n", row.escape_ascii())).collect();
    print(text)
}

/// Writes a letter to standard output, unstuffed, with lines that end in LF.
fn letter<S: Read + Write>(conn: &mut ServerConnection<S>, command: &str) -> Result<()> {
    let text = conn.command(command)?;
    let progress = ProgressMeter::for_letter(connection::announced_size(&text));
    let mut out = BufWriter::new(io::stdout().lock());
    conn.message(command, |piece| {
        progress.advance(piece.len());
        out.write_all(piece).map_err(Error::io("standard output"))
    })?;
    out.flush().map_err(Error::io("standard output"))
}
