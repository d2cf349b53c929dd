//! Commands out, replies in, each within its time.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use forknet::{Connection, Error, Result, printable};
use netascii::line::{Line, LineReader};

use super::options::Options;

/// Longest line of a reply that is read: RFC 5321 §4.5.3.1.5 has 512, some servers say more.
const MAX_REPLY_LINE: usize = 4096;
/// Most lines of one reply.
const MAX_REPLY_LINES: usize = 500;
/// Connecting, and the greeting, MAIL and RCPT (RFC 5321 §4.5.3.2.1 to 3).
pub const COMMAND: Duration = Duration::from_secs(5 * 60);
/// The answer to DATA (§4.5.3.2.4).
pub const DATA: Duration = Duration::from_secs(2 * 60);
/// A block of the letter (§4.5.3.2.5).
pub const BLOCK: Duration = Duration::from_secs(3 * 60);
/// The answer to the end of the letter (§4.5.3.2.6).
pub const END: Duration = Duration::from_secs(10 * 60);
/// The answer to QUIT, which matters to nobody.
const QUIT: Duration = Duration::from_secs(5);

/// What the server answered. The code decides; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// 2yz: done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: go on.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.code / 100 == 3
    }

    /// 5yz: never.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.code / 100 == 5
    }

    /// 421: the server closes the connection behind this, whatever was asked.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// The texts of its lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" "))
    }
}

/// The dialogue with a server.
#[derive(Debug)]
pub struct Wire {
    reader: LineReader<Connection>,
    server: String,
    timeout: Option<Duration>,
    verbose: bool,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// As [`forknet::connect`].
    pub fn connect(options: &Options) -> Result<Wire> {
        let limit = options.timeout.unwrap_or(COMMAND);
        let server = &options.server;
        let connection = forknet::connect(&server.host, server.port, limit)?;
        Ok(Wire {
            reader: LineReader::new(connection),
            server: server.to_string(),
            timeout: options.timeout,
            verbose: options.verbose,
        })
    }

    /// From now on every wait has this limit, unless the user has set one.
    pub fn set_limit(&mut self, limit: Duration) {
        self.reader.get_mut().set_idle(self.timeout.unwrap_or(limit));
    }

    /// What is still to come matters to nobody: no wait is long.
    pub fn hurry(&mut self) {
        self.reader.get_mut().set_idle(self.timeout.unwrap_or(QUIT).min(QUIT));
    }

    /// Sends command lines, in one write.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn say(&mut self, commands: &[String]) -> Result<()> {
        for command in commands {
            self.show('C', command.as_bytes());
        }
        let lines: String = commands.iter().flat_map(|c| [c.as_str(), "\r\n"]).collect();
        self.send(lines.as_bytes())
    }

    /// Sends octets as they are. A server that hangs up may have said why before.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, octets: &[u8]) -> Result<()> {
        match self.reader.get_mut().write_all(octets) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(self.broken(error)),
            Err(error) => match self.reply() {
                Ok(reply) => Err(self.refused("while sending", &reply)),
                Err(_) => Err(self.broken(error)),
            },
        }
    }

    /// Reads one reply, of one line or several.
    ///
    /// # Errors
    /// The connection is broken or ends, or what comes is no reply.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        let mut first = None;
        while lines.len() < MAX_REPLY_LINES {
            let line = match self.reader.read_line(MAX_REPLY_LINE) {
                Ok(Line::Text(line)) => line.to_vec(),
                Ok(Line::TooLong) => return Err(self.nonsense("a line that is too long")),
                Ok(Line::Eof) => return Err(self.ended()),
                Err(error) => return Err(self.broken(error)),
            };
            self.show('S', &line);
            let Some((code, more, text)) = reply_line(&line) else {
                return Err(self.nonsense(&printable(&line)));
            };
            if *first.get_or_insert(code) != code {
                return Err(self.nonsense("a reply with two codes"));
            }
            lines.push(printable(text));
            if !more {
                return Ok(Reply { code, lines });
            }
        }
        Err(self.nonsense("a reply without an end"))
    }

    /// A line of the dialogue for `-v`.
    pub fn show(&self, who: char, line: &[u8]) {
        if self.verbose {
            let _nobody_watches = writeln!(io::stderr(), "{who}: {}", printable(line));
        }
    }

    /// Someone watches the dialogue.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.verbose
    }

    /// The server said no.
    #[must_use]
    pub fn refused(&self, what: &str, reply: &Reply) -> Error {
        Error::Refused(format!("{}: {what}: {reply}", self.server))
    }

    /// Something about the server in general.
    #[must_use]
    pub fn trouble(&self, why: &str) -> Error {
        Error::Refused(format!("{}: {why}", self.server))
    }

    fn nonsense(&self, what: &str) -> Error {
        self.trouble(&format!("not an SMTP reply: {what}"))
    }

    fn ended(&self) -> Error {
        self.trouble("the server closed the connection")
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Io { what: self.server.clone(), source }
    }
}

/// Code, whether more lines follow, and text of `250-text`, `250 text` or `250`.
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
