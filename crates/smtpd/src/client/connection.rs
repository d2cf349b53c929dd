//! The connection to a server: sends commands, reads replies, each with a timeout.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use accounts::sasl::{Binding, Bindings};
use forknet::{Connection, Error, printable};
use maild::client::is_loopback;
use netascii::line::{Line, LineReader};

use super::destination::Target;
use super::options::{Options, Tls};
use super::reply::{ServerReply, reply_line};
use super::status::{Asked, Failure, Part, Result, Status, of_refusal};

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

/// A connection to a server.
#[derive(Debug)]
pub struct ServerConnection {
    reader: LineReader<Connection>,
    /// The server's name in its certificate, and the server for people: `host:25`, `host[127.0.0.2]:25`.
    host: String,
    shown: String,
    tls: Option<tls::Client>,
    bindings: Bindings,
    timeout: Option<Duration>,
    verbose: bool,
}

impl ServerConnection {
    /// Connects to the server; with `--tls` it makes the handshake.
    ///
    /// # Errors
    /// Errors of [`forknet::connect`]; the server's certificate is not trusted.
    pub fn connect(options: &Options, target: &Target) -> Result<ServerConnection> {
        let tls = match options.tls {
            Tls::Never => None,
            Tls::ByCommand | Tls::Implicit => {
                let client = tls::Client::new(options.ca_file.as_deref());
                Some(client.map_err(|error| Failure::from(Error::from(error)))?)
            }
        };
        let limit = options.timeout.unwrap_or(COMMAND_TIMEOUT);
        let (server, address) = (&target.server, target.address.map(|it| it.to_string()));
        let host = address.as_ref().unwrap_or(&server.host);
        let connection = forknet::connect(host, server.port, limit).map_err(no_connection)?;
        let shown = match &address {
            Some(address) => format!("{}[{address}]:{}", server.host, server.port),
            None => server.to_string(),
        };
        let mut conn = ServerConnection {
            reader: LineReader::new(connection),
            host: server.host.clone(),
            shown,
            tls,
            bindings: Bindings::default(),
            timeout: options.timeout,
            verbose: options.verbose,
        };
        if options.tls == Tls::Implicit {
            conn.begin_tls()?;
        }
        Ok(conn)
    }

    /// Makes the handshake. Nothing that was read before may be left. After a failure the connection is of no use.
    ///
    /// # Errors
    /// Something is left, which an intruder may have put there; the server's certificate is not trusted.
    pub fn begin_tls(&mut self) -> Result<()> {
        if !self.reader.buffered().is_empty() {
            let why = "the server sends more before TLS begins";
            return Err(self.error(Status::Protocol, why).and_lost().of(Part::Session));
        }
        let Some(client) = &self.tls else { return Ok(()) };
        let agreed = client.start(&self.host, self.reader.get_mut());
        let agreed = agreed
            .map_err(|error| Failure { status: Status::Protocol, ..Failure::lost(error.into()) })?;
        let exporter = agreed.exporter.as_ref().map(<[u8; 32]>::as_slice);
        let bindings = Bindings::default();
        self.bindings = bindings.with(Binding::Exporter, exporter.unwrap_or_default());
        Ok(())
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
        if reply.is_success() { Ok(None) } else { Err(self.refused("AUTH", &reply, Asked::Login)) }
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
                Ok(reply) => Err(self.refused("while sending", &reply, Asked::Letter).and_lost()),
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
                return Ok(ServerReply::new(code, lines));
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

    /// Returns the failure for a refusal.
    #[must_use]
    pub fn refused(&self, what: &str, reply: &ServerReply, asked: Asked) -> Failure {
        let failure = self.error(of_refusal(reply, asked), &format!("{what}: {reply}"));
        let failure = if asked == Asked::Session { failure.of(Part::Session) } else { failure };
        if reply.is_closing() { failure.and_lost() } else { failure }
    }

    /// Returns a failure that has to do with the server.
    #[must_use]
    pub fn error(&self, status: Status, why: &str) -> Failure {
        Failure::new(status, format!("{}: {why}", self.shown))
    }

    fn bad_reply(&self, what: &str) -> Failure {
        self.error(Status::Protocol, &format!("not an SMTP reply: {what}"))
            .and_lost()
            .of(Part::Session)
    }

    fn closed(&self) -> Failure {
        self.error(Status::Temporary, "the server closed the connection")
            .and_lost()
            .of(Part::Session)
    }

    fn io_error(&self, source: io::Error) -> Failure {
        Failure::lost(Error::Io { what: self.shown.clone(), source })
    }
}

/// A name without an address is no host; all else may be there later.
fn no_connection(error: Error) -> Failure {
    let is_name = |what: &str| what.starts_with("resolve ");
    match &error {
        Error::Io { what, .. } if is_name(what) => {
            Failure { status: Status::NoHost, ..Failure::lost(error) }
        }
        _ => Failure::lost(error),
    }
}
