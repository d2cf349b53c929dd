//! The commands besides `fetch`: stat, list, uidl, get, top, dele.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use forknet::{Error, printable};

use super::connection::{self, ServerConnection};
use super::options::Operation;
use super::output::print;
use super::progress::ProgressMeter;
use super::status::{Failure, Result, Status};

/// Longest line of a letter that a terminal is shown in one piece, in bytes.
const MAX_SHOWN: usize = 64 * 1024;

/// Performs a command.
pub(crate) fn perform<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    operation: &Operation,
) -> Result<()> {
    match operation {
        Operation::Stat => stat(conn),
        Operation::List => rows(conn, "LIST"),
        Operation::Uidl => rows(conn, "UIDL"),
        Operation::Get(number) => letter(conn, &format!("RETR {number}")),
        Operation::Top(number, lines) => letter(conn, &format!("TOP {number} {lines}")),
        Operation::Dele(number) => conn.command(format!("DELE {number}")).map(|_| ()),
        Operation::Fetch(_) => Ok(()), // has a file of its own
    }
}

fn stat<S: Read + Write>(conn: &mut ServerConnection<S>) -> Result<()> {
    let text = conn.command("STAT")?;
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
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
    let text: String = rows.iter().map(|row| printable(row) + "\n").collect();
    print(text)
}

/// Writes a letter to standard output, unstuffed, with lines that end in LF. A terminal gets no control
/// character of it but tabs and line ends.
fn letter<S: Read + Write>(conn: &mut ServerConnection<S>, command: &str) -> Result<()> {
    let text = conn.command(command)?;
    let progress = ProgressMeter::for_letter(connection::announced_size(&text));
    let failed = |error| Failure::because(Status::Io)(Error::io("standard output")(error));
    let is_terminal = io::stdout().is_terminal();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = Vec::new();
    conn.message(command, |piece| {
        progress.advance(piece.len());
        if !is_terminal {
            return out.write_all(piece).map_err(failed);
        }
        line.extend_from_slice(piece);
        show_lines(&mut line, &mut out).map_err(failed)
    })?;
    out.write_all(printable(&line).as_bytes()).and_then(|()| out.flush()).map_err(failed)
}

/// Writes the complete lines, and keeps the rest.
fn show_lines(text: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    let last = text.iter().rposition(|&b| b == b'\n').map(|at| at + 1);
    let end = last.unwrap_or(if text.len() > MAX_SHOWN { text.len() } else { 0 });
    let rest = text.split_off(end);
    for line in std::mem::replace(text, rest).split_inclusive(|&b| b == b'\n') {
        let (line, end) = match line.strip_suffix(b"\n") {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        out.write_all(printable(line).as_bytes())?;
        out.write_all(end.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_utf_8_as_it_is_and_no_escape() {
        let (mut text, mut out) = (Vec::new(), Vec::new());
        for byte in "caf\u{e9} \"x\"\t\u{1b}[2J\u{9b}1m\rz\nhalf".bytes() {
            text.push(byte);
            show_lines(&mut text, &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "caf\u{e9} \"x\"\t\\u{1b}[2J\\u{9b}1m\\rz\n");
        assert_eq!(text, b"half");
    }
}
