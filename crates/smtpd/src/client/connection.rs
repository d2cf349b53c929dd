//! The connection to a server: sends commands, reads replies, each with a timeout.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use accounts::sasl::{Binding, Bindings};
use forknet::{Connection, Error, HostPort, Result, printable};
use maild::client::is_loopback;
use netascii::line::{Line, LineReader};

use super::options::{Options, Tls};

/// Longest line of a reply, in bytes. RFC 5321 §4.5.3.1.5 has 512; some servers send more.
const MAX_REPLY_LINE: usize = 4096;
/// Most lines of one reply.
const MAX_REPLY_LINES: usize = 500;
/// Timeout of connect, the greeting, MAIL and RCPT (RFC 5321 §4.5.3.2.1 to 3).
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Timeout of the reply to DATA (RFC 5321 §4.5.3.2.4).
pub const DATA_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Timeout of a block of the letter (RFC 5321 §4.5.3.2.5).
pub const BLOCK_TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// Timeout of the reply to the end of the letter (RFC 5321 §4.5.3.2.6).
pub const END_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Timeout of the reply to QUIT. Short, because the letter is accepted or refused by then.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A reply of the server. Only its code is interpreted; the text is for humans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReply {
    code: u16,
    lines: Vec<String>,
}

impl ServerReply {
    /// Returns whether the code is 2yz: success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// Returns whether the code is 3yz: the server expects more input.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Returns whether the code is 5yz: a permanent refusal.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Returns whether the code is 421: the server closes the connection.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// Returns the texts of the reply's lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl fmt::Display for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" "))
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct ServerConnection {
    reader: LineReader<Connection>,
    server: HostPort,
    tls: Option<tls::Client>,
    bindings: Bindings,
    /// A handshake has failed.
    is_unusable: bool,
    timeout: Option<Duration>,
    verbose: bool,
}

impl ServerConnection {
    /// Connects to the server; with `--tls` it makes the handshake.
    ///
    /// # Errors
    /// Errors of [`forknet::connect`]; the server's certificate is not trusted.
    pub fn connect(options: &Options) -> Result<ServerConnection> {
        let tls = match options.tls {
            Tls::Never => None,
            Tls::ByCommand | Tls::Implicit => Some(tls::Client::new(options.ca_file.as_deref())?),
        };
        let limit = options.timeout.unwrap_or(COMMAND_TIMEOUT);
        let server = options.server.clone();
        let connection = forknet::connect(&server.host, server.port, limit)?;
        let (reader, bindings) = (LineReader::new(connection), Bindings::default());
        let (timeout, verbose) = (options.timeout, options.verbose);
        let is_unusable = false;
        let mut conn =
            ServerConnection { reader, server, tls, bindings, is_unusable, timeout, verbose };
        if options.tls == Tls::Implicit {
            conn.begin_tls()?;
        }
        Ok(conn)
    }

    /// Makes the handshake. Nothing that was read before may be left.
    ///
    /// # Errors
    /// Something is left, which an intruder may have put there; the server's certificate is not trusted.
    pub fn begin_tls(&mut self) -> Result<()> {
        self.is_unusable = true; // until it succeeds
        if !self.reader.buffered().is_empty() {
            return Err(self.error("the server sends more before TLS begins"));
        }
        let Some(client) = &self.tls else { return Ok(()) };
        let agreed = client.start(&self.server.host, self.reader.get_mut())?;
        let exporter = agreed.exporter.as_ref().map(<[u8; 32]>::as_slice);
        let bindings = Bindings::default();
        self.bindings = bindings.with(Binding::Exporter, exporter.unwrap_or_default());
        self.is_unusable = false;
        Ok(())
    }

    /// Returns true after a handshake that has failed.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        self.is_unusable
    }

    /// Returns what a login can be bound by.
    #[must_use]
    pub fn bindings(&self) -> Bindings {
        self.bindings.clone()
    }

    /// Returns whether the password may be sent: under TLS, or on this machine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let conn = self.reader.get_ref();
        conn.is_under_tls() || is_loopback(conn)
    }

    /// Sends a command of AUTH or a response, of which `-v` shows `shown`; returns the server's next challenge
    /// in base64, or `None` once it has accepted the login (RFC 4954 §4).
    ///
    /// # Errors
    /// The connection fails, or the server refuses.
    pub fn exchange(&mut self, line: &[u8], shown: &[u8]) -> Result<Option<Vec<u8>>> {
        self.show('C', shown);
        self.send(&[line, b"\r\n"].concat())?;
        let reply = self.reply()?;
        if reply.is_intermediate() {
            return Ok(Some(reply.lines().next().unwrap_or_default().as_bytes().to_vec()));
        }
        if reply.is_success() { Ok(None) } else { Err(self.refused("AUTH", &reply)) }
    }

    /// Sets the timeout of the following waits, unless the user has set `--timeout`.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.reader.get_mut().set_idle(self.timeout.unwrap_or(timeout));
    }

    /// Shortens the following waits, for QUIT.
    pub fn set_quit_timeout(&mut self) {
        self.reader.get_mut().set_idle(self.timeout.unwrap_or(QUIT_TIMEOUT).min(QUIT_TIMEOUT));
    }

    /// Sends command lines in one write.
    ///
    /// # Errors
    /// The connection fails.
    pub fn commands(&mut self, commands: &[String]) -> Result<()> {
        for command in commands {
            self.show('C', command.as_bytes());
        }
        let lines: String = commands.iter().flat_map(|c| [c.as_str(), "\r\n"]).collect();
        self.send(lines.as_bytes())
    }

    /// Sends bytes. On failure, reads a reply, because a server that closes the connection may have
    /// sent the reason before.
    ///
    /// # Errors
    /// The server's reply, if there is one, or the connection's error.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.reader.get_mut().write_all(bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(self.io_error(error)),
            Err(error) => match self.reply() {
                Ok(reply) => Err(self.refused("while sending", &reply)),
                Err(_) => Err(self.io_error(error)),
            },
        }
    }

    /// Reads one reply, of one line or several.
    ///
    /// # Errors
    /// The connection fails or ends, or the text is not a reply.
    pub fn reply(&mut self) -> Result<ServerReply> {
        let mut lines = Vec::new();
        let mut first = None;
        while lines.len() < MAX_REPLY_LINES {
            let line = match self.reader.read_line(MAX_REPLY_LINE) {
                Ok(Line::Text(line)) => line.to_vec(),
                Ok(Line::TooLong) => return Err(self.bad_reply("a line that is too long")),
                Ok(Line::Eof) => return Err(self.closed()),
                Err(error) => return Err(self.io_error(error)),
            };
            self.show('S', &line);
            let Some((code, more, text)) = reply_line(&line) else {
                return Err(self.bad_reply(&printable(&line)));
            };
            if *first.get_or_insert(code) != code {
                return Err(self.bad_reply("a reply with two codes"));
            }
            lines.push(printable(text));
            if !more {
                return Ok(ServerReply { code, lines });
            }
        }
        Err(self.bad_reply("a reply without an end"))
    }

    /// Shows a line with `-v`.
    pub fn show(&self, sender: char, line: &[u8]) {
        if self.verbose {
            let _ = writeln!(io::stderr(), "{sender}: {}", printable(line)); // best effort
        }
    }

    /// Returns whether lines are shown.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.verbose
    }

    /// Returns the error for a refusal.
    #[must_use]
    pub fn refused(&self, what: &str, reply: &ServerReply) -> Error {
        Error::Refused(format!("{}: {what}: {reply}", self.server))
    }

    /// Returns an error about the server.
    #[must_use]
    pub fn error(&self, why: &str) -> Error {
        Error::Refused(format!("{}: {why}", self.server))
    }

    fn bad_reply(&self, what: &str) -> Error {
        self.error(&format!("not an SMTP reply: {what}"))
    }

    fn closed(&self) -> Error {
        self.error("the server closed the connection")
    }

    fn io_error(&self, source: io::Error) -> Error {
        Error::Io { what: self.server.to_string(), source }
    }
}

/// Splits `250-text`, `250 text` or `250` into the code, whether more lines follow, and the text.
fn reply_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let good = matches!(digits, [b'2'..=b'5', second, third]
        if second.is_ascii_digit() && third.is_ascii_digit());
    let code = std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| good)?;
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_line_is_three_digits_and_a_space_or_hyphen() {
        assert_eq!(reply_line(b"250 OK"), Some((250, false, &b"OK"[..])));
        assert_eq!(reply_line(b"250-a-b"), Some((250, true, &b"a-b"[..])));
        assert_eq!(reply_line(b"354"), Some((354, false, &b""[..])));
        for bad in [&b""[..], b"25", b"2500 x", b"150 x", b"650 x", b"25x y", b" 250", b"250_"] {
            assert_eq!(reply_line(bad), None, "{}", bad.escape_ascii());
        }
    }
}
