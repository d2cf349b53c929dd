//! pop3c, the client's half of POP3 (RFC 1939 §3 to §7).
//!
//! ```text
//! pop3c [-u USER] [--password-file F] HOST[:PORT] stat|list|uidl|get N|top N K|dele N|fetch DIR
//! ```
//!
//! What the server says is not trusted: lines, lists and messages have limits, a message ends where
//! its final dot stands and not where LIST said, and nothing of it reaches the terminal unescaped
//! but the letter that was asked for.

mod dialogue;
mod fetch;
mod login;
mod options;
mod progress;
mod seen;

use std::ffi::OsString;
use std::io::{self, BufWriter, Read, Write};

use forknet::{Error, Result};

use dialogue::Dialogue;
use options::{Options, What};
use progress::Progress;

/// The program: logs in, does what is asked, says QUIT.
///
/// # Errors
/// What, where and why; the exit code is 0 only if all was done.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let options = options::parse(args)?;
    let password = login::password(&options)?;
    let server = &options.server;
    let conn = forknet::connect(&server.host, server.port, options.timeout)?;
    let local = login::is_local(&conn);
    let mut dialogue = Dialogue::start(conn, server.to_string(), options.verbose)?;
    login::log_in(&mut dialogue, &options, &password, local)?;
    let done = act(&mut dialogue, &options);
    match done {
        Err(error) if dialogue.is_broken() => Err(error),
        // The server refused; it is still there, and is taken leave of.
        Err(error) => dialogue.command("QUIT").and(Err(error)),
        Ok(()) => dialogue.command("QUIT").map(|_| ()),
    }
}

fn act<S: Read + Write>(dialogue: &mut Dialogue<S>, options: &Options) -> Result<()> {
    match &options.what {
        What::Stat => stat(dialogue),
        What::List => rows(dialogue, "LIST"),
        What::Uidl => rows(dialogue, "UIDL"),
        What::Get(number) => letter(dialogue, &format!("RETR {number}")),
        What::Top(number, lines) => letter(dialogue, &format!("TOP {number} {lines}")),
        What::Dele(number) => dialogue.command(format!("DELE {number}")).map(|_| ()),
        What::Fetch(folder) => fetch::fetch(dialogue, options, folder),
    }
}

fn stat<S: Read + Write>(dialogue: &mut Dialogue<S>) -> Result<()> {
    let text = dialogue.command("STAT")?;
    let mut words = text.split(|&b| b == b' ');
    let mut next = || std::str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
    let (Some(count), Some(octets)) = (next(), next()) else {
        return Err(dialogue.nonsense("STAT"));
    };
    let plural = if count == 1 { "" } else { "s" };
    print(format_args!("{count} message{plural}, {octets} octets\n"))
}

fn rows<S: Read + Write>(dialogue: &mut Dialogue<S>, command: &str) -> Result<()> {
    dialogue.command(command)?;
    let rows = dialogue.listing(command)?;
    let text: String = rows.iter().map(|row| format!("{}\n", row.escape_ascii())).collect();
    print(text)
}

/// Writes a letter to standard output as it lies on disk: lines end in LF, dots are unstuffed.
fn letter<S: Read + Write>(dialogue: &mut Dialogue<S>, command: &str) -> Result<()> {
    let text = dialogue.command(command)?;
    let progress = Progress::of_letter(dialogue::octets_told(&text));
    let mut out = BufWriter::new(io::stdout().lock());
    dialogue.message(command, |piece| {
        progress.advance(piece.len());
        out.write_all(piece).map_err(Error::io("standard output"))
    })?;
    out.flush().map_err(Error::io("standard output"))
}

fn print(text: impl std::fmt::Display) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(Error::io("standard output"))
}
