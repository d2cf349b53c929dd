//! The connection to a server: commands and replies (RFC 1939 §3), with a limit on every line,
//! listing and message.

use std::io::{BufRead, Read, Write};

use forknet::{Error, printable};
use netascii::dot_stuffing::{LineEnding, Unstuffer};
use netascii::line::{Line, LineReader};

use super::bare_lf::BareLfUnstuffer;
use super::status::{Asked, Failure, Result, Status, of_refusal};
use crate::protocol::mask::masked;

/// Longest line of a reply or a listing, in bytes. RFC 1939 §3 allows 512; some servers send more.
const MAX_LINE: usize = 4096;
/// Most lines of a listing.
const MAX_ROWS: usize = 1_000_000;
/// Largest listing in bytes.
const MAX_LISTING: usize = 128 << 20;
/// Largest message in bytes.
const MAX_MESSAGE: u64 = 1 << 30;
/// Size of the read buffer in bytes.
const BUFFER: usize = 64 * 1024;

/// A connection to a server.
pub struct ServerConnection<S> {
    reader: LineReader<S>,
    /// `HOST:PORT`, for error messages.
    server: String,
    verbose: bool,
    greeting: Vec<u8>,
    /// The connection is unusable, because it is lost or a reply was not POP3.
    broken: bool,
}

impl<S: Read + Write> ServerConnection<S> {
    /// Reads the greeting. `server` is for error messages.
    pub fn start(stream: S, server: String, verbose: bool) -> Result<ServerConnection<S>> {
        let (reader, greeting) = (LineReader::with_capacity(BUFFER, stream), Vec::new());
        let mut conn = ServerConnection { reader, server, verbose, greeting, broken: false };
        conn.greeting = conn.reply("greeting", Asked::Greeting)?;
        Ok(conn)
    }

    /// Returns the text of the greeting.
    pub fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    /// Forgets the greeting.
    pub fn forget_greeting(&mut self) {
        self.greeting.clear();
    }

    /// Returns whether the connection is unusable, because it is lost or a reply was not POP3.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Prevents further commands, QUIT included, so that the server removes nothing.
    pub fn abort(&mut self) {
        self.broken = true;
    }

    /// Sends a command and returns the text after `+OK`.
    ///
    /// # Errors
    /// [`Failure`] with the server's text after `-ERR`.
    pub fn command(&mut self, command: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let command = command.as_ref();
        self.send(command)?;
        let keyword = split(command).0;
        let shown = if matches!(keyword, b"PASS" | b"APOP") { keyword } else { command };
        let is_login = matches!(keyword, b"USER" | b"PASS" | b"APOP");
        let asked = if is_login { Asked::Login } else { Asked::Other };
        self.reply(&String::from_utf8_lossy(shown), asked)
    }

    /// Sends commands in one write, whose replies are read later. They must be few: while a server waits
    /// for room to answer it reads nothing.
    pub fn send_all(&mut self, commands: &[String]) -> Result<()> {
        for command in commands {
            self.trace('C', command.as_bytes());
        }
        let lines: String = commands.iter().flat_map(|command| [command, "\r\n"]).collect();
        let sent = self.reader.get_mut().write_all(lines.as_bytes());
        sent.map_err(|error| self.io_error(error))
    }

    /// Sends a command of SASL or a response, and returns what the server answers with: its next challenge
    /// in base64, or `None` once it has accepted the login. `shown` is what `-v` shows.
    ///
    /// # Errors
    /// As [`ServerConnection::command`].
    pub fn exchange(&mut self, line: &[u8], shown: &[u8]) -> Result<Option<Vec<u8>>> {
        self.send_shown(line, shown)?;
        let line = self.line("AUTH")?.ok_or_else(|| self.closed("AUTH"))?;
        match line.strip_prefix(b"+ ") {
            Some(challenge) => Ok(Some(challenge.to_vec())),
            None if line == b"+" => Ok(Some(Vec::new())),
            None => self.judge("AUTH", &line, Asked::Login).map(|_| None),
        }
    }

    /// Returns the connection below, for TLS; nothing that was read before may be left.
    ///
    /// # Errors
    /// Something is left, which an intruder may have put there.
    pub fn before_tls(&mut self) -> Result<&mut S> {
        if !self.reader.buffered().is_empty() {
            return Err(self.failed("STLS", "the server sends more before TLS begins"));
        }
        Ok(self.reader.get_mut())
    }

    fn send(&mut self, command: &[u8]) -> Result<()> {
        self.send_shown(command, &masked(command))
    }

    fn send_shown(&mut self, command: &[u8], shown: &[u8]) -> Result<()> {
        if command.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(Failure::new(Status::Usage, "a name or password with a line end"));
        }
        self.trace('C', shown);
        let sent = self.reader.get_mut().write_all(&[command, b"\r\n"].concat());
        sent.map_err(|error| self.io_error(error))
    }

    /// Reads a reply. Returns the text after `+OK`.
    ///
    /// # Errors
    /// As [`ServerConnection::command`].
    pub fn reply(&mut self, about: &str, asked: Asked) -> Result<Vec<u8>> {
        let line = self.line(about)?.ok_or_else(|| self.closed(about))?;
        self.judge(about, &line, asked)
    }

    /// Returns the text after `+OK`. Small letters are taken too, though RFC 1939 §3 wants capitals.
    fn judge(&mut self, about: &str, line: &[u8], asked: Asked) -> Result<Vec<u8>> {
        let (word, text) = split(line);
        if word.eq_ignore_ascii_case(b"+OK") {
            return Ok(text.to_vec());
        }
        if word.eq_ignore_ascii_case(b"-ERR") {
            let why = format!("{}: {about}: {}", self.server, printable(line));
            return Err(Failure::refusal(of_refusal(text, asked), why));
        }
        Err(self.bad_reply(about))
    }

    /// Reads a listing up to its final dot. Returns the rows, unstuffed.
    pub fn listing(&mut self, about: &str) -> Result<Vec<Vec<u8>>> {
        let mut rows = Vec::new();
        let mut octets = 0;
        loop {
            let row = self.line(about)?.ok_or_else(|| self.closed(about))?;
            octets += row.len();
            match row.strip_prefix(b".") {
                Some(b"") => return Ok(rows),
                Some(rest) => rows.push(rest.to_vec()),
                None => rows.push(row),
            }
            if rows.len() > MAX_ROWS || octets > MAX_LISTING {
                return Err(self.over_limit(about));
            }
        }
    }

    /// Reads a message up to its final dot. Calls `each` with its pieces, unstuffed, with lines
    /// that end in LF. Returns its size with CRLF line ends.
    pub fn message(
        &mut self,
        about: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let mut decoder = match self.reader.ended_in_bare_lf() {
            true => Decoder::BareLf(BareLfUnstuffer::default()),
            false => Decoder::Strict(Unstuffer::new(LineEnding::Lf)),
        };
        let mut piece = Vec::new();
        while !decoder.is_done() {
            piece.clear();
            let taken = match self.reader.fill_buf() {
                Ok([]) => return Err(self.closed(about)),
                Ok(input) => decoder.feed(input, &mut piece),
                Err(error) => return Err(self.io_error(error)),
            };
            self.reader.consume(taken);
            if decoder.octets() > MAX_MESSAGE {
                return Err(self.over_limit(about));
            }
            // After a failure the rest of the message is still unread.
            each(&piece).inspect_err(|_| self.broken = true)?;
        }
        self.trace('S', format!("[a message of {} octets]", decoder.octets()).as_bytes());
        Ok(decoder.octets())
    }

    fn line(&mut self, about: &str) -> Result<Option<Vec<u8>>> {
        let line = match self.reader.read_line(MAX_LINE) {
            Ok(Line::Text(text)) => text.to_vec(),
            Ok(Line::TooLong) => return Err(self.over_limit(about)),
            Ok(Line::Eof) => return Ok(None),
            Err(error) => return Err(self.io_error(error)),
        };
        self.trace('S', &line);
        Ok(Some(line))
    }

    /// Returns the failure for a reply that is not POP3.
    pub fn bad_reply(&mut self, about: &str) -> Failure {
        self.failed(about, "the reply is no POP3")
    }

    fn over_limit(&mut self, about: &str) -> Failure {
        self.failed(about, "the reply exceeds the limit")
    }

    fn failed(&mut self, about: &str, why: &str) -> Failure {
        self.broken = true;
        Failure::new(Status::Protocol, format!("{}: {about}: {why}", self.server))
    }

    fn closed(&mut self, about: &str) -> Failure {
        self.broken = true;
        let why = format!("{}: {about}: the server closed the connection", self.server);
        Failure::new(Status::Temporary, why)
    }

    fn io_error(&mut self, error: std::io::Error) -> Failure {
        self.broken = true;
        let is_protocol = error.kind() == std::io::ErrorKind::InvalidData;
        let status = if is_protocol { Status::Protocol } else { Status::Temporary };
        Failure::because(status)(Error::io(self.server.clone())(error))
    }

    fn trace(&self, sender: char, line: &[u8]) {
        if self.verbose {
            let _ = writeln!(std::io::stderr(), "{sender}: {}", printable(line)); // best effort
        }
    }
}

/// The decoder of a message.
enum Decoder {
    Strict(Unstuffer),
    /// The server's replies end in LF alone.
    BareLf(BareLfUnstuffer),
}

impl Decoder {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        match self {
            Decoder::Strict(it) => it.feed(input, out),
            Decoder::BareLf(it) => it.feed(input, out),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Decoder::Strict(it) => it.is_done(),
            Decoder::BareLf(it) => it.is_done(),
        }
    }

    fn octets(&self) -> u64 {
        match self {
            Decoder::Strict(it) => it.octets(),
            Decoder::BareLf(it) => it.octets(),
        }
    }
}

/// Splits a line into its first word and the text after the blank.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let at = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
    (word, rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Parses the size in `+OK 120 octets`, which is used for the progress bar only.
pub fn announced_size(text: &[u8]) -> Option<u64> {
    let word = text.split(|&b| b == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests;
