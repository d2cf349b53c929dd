//! One client's conversation: lines in, replies out, over any stream.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use forknet::Transcript;
use netascii::dot::Stuffer;
use netascii::line::{Line, LineReader};

use crate::protocol::{Outcome, Protocol};
use crate::top::Top;
use crate::transaction::Message;

/// Replies are collected up to this much, and messages are read and sent in pieces of it.
const BUFFER: usize = 64 * 1024;

/// Talks with one client until QUIT, or until it is gone. A client that goes without QUIT is no
/// error, and deletes nothing (RFC 1939 §6).
///
/// # Errors
/// The stream's, or those of reading a message whose reply had begun.
pub fn converse<S: Read + Write>(
    stream: S,
    protocol: Protocol,
    transcript: &mut Transcript,
) -> io::Result<()> {
    converse_in_pieces(BUFFER, stream, protocol, transcript)
}

fn converse_in_pieces<S: Read + Write>(
    size: usize,
    stream: S,
    mut protocol: Protocol,
    transcript: &mut Transcript,
) -> io::Result<()> {
    let (reader, out, piece) = (LineReader::new(stream), Vec::new(), vec![0; size]);
    let mut session = Session { reader, out, piece, transcript };
    let why = match session.talk(&mut protocol) {
        Ok(End::Quit) => {
            let reply = protocol.update();
            session.say(&reply)?;
            return session.flush();
        }
        Ok(End::Bye) => "was shown the door",
        Ok(End::Gone) => "went without QUIT",
        Err(error) if error.kind() == ErrorKind::TimedOut => "was silent for too long",
        Err(error) if is_gone(error.kind()) => "lost the connection",
        Err(error) => {
            protocol.abandon("session broken off");
            return Err(error);
        }
    };
    protocol.abandon(why);
    Ok(())
}

/// The name of this machine as it stands in the greeting: letters, digits, dots and hyphens.
#[must_use]
pub fn host() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let fit = |name: &String| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        (1..=255).contains(&name.len()) && name.bytes().all(known)
    };
    name.ok().filter(fit).unwrap_or_else(|| "localhost".to_owned())
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// How the talk ended.
enum End {
    /// With QUIT: UPDATE follows.
    Quit,
    /// The server had enough; its last word is said.
    Bye,
    /// The client closed its side.
    Gone,
}

struct Session<'a, S> {
    reader: LineReader<S>,
    /// What is said and not yet sent.
    out: Vec<u8>,
    /// What is read of a message at once.
    piece: Vec<u8>,
    transcript: &'a mut Transcript,
}

impl<S: Read + Write> Session<'_, S> {
    fn talk(&mut self, protocol: &mut Protocol) -> io::Result<End> {
        self.say(&protocol.greeting())?;
        loop {
            // While whole commands are waiting, replies wait too: one write for all of them.
            if !self.reader.buffered().contains(&b'\n') {
                self.flush()?;
            }
            let outcome = match self.reader.read_line(protocol.line_limit())? {
                Line::Eof => return Ok(End::Gone),
                Line::TooLong => {
                    self.transcript.client(b"[a line that is too long]");
                    protocol.too_long()
                }
                Line::Text(line) => {
                    if self.transcript.is_on() {
                        self.transcript.client(&protocol.masked(line));
                    }
                    protocol.line(line)
                }
            };
            if let Some(end) = self.act(protocol, outcome)? {
                return Ok(end);
            }
        }
    }

    /// Carries an outcome out.
    fn act(&mut self, protocol: &mut Protocol, outcome: Outcome) -> io::Result<Option<End>> {
        match outcome {
            Outcome::Say(reply) | Outcome::Bad(reply) => self.say(&reply)?,
            Outcome::Listing(reply, column) => {
                self.say(&reply)?;
                protocol.listing(column, |row| self.say(row))?;
                self.say(b".\r\n")?;
            }
            Outcome::Capabilities => self.say(&protocol.capabilities())?,
            Outcome::Message(reply, message) => {
                self.say(&reply)?;
                let (index, whole) = (message.index, message.lines.is_none());
                let octets = self.send(message)?;
                if whole {
                    protocol.sent(index, octets);
                }
            }
            Outcome::Refused(reply, due) => self.say_when_due(&reply, due)?,
            Outcome::Banned(reply, due) => {
                self.say_when_due(&reply, due)?;
                self.flush()?;
                return Ok(Some(End::Bye));
            }
            Outcome::Bye(reply) => {
                self.say(&reply)?;
                self.flush()?;
                return Ok(Some(End::Bye));
            }
            Outcome::Quit => {
                // A client that sends RETR, DELE and QUIT at once must have got the message, as
                // far as TCP can tell, before it is removed.
                self.flush()?;
                return Ok(Some(End::Quit));
            }
            // The protocol has made a state and a reply of it already.
            Outcome::Welcome(_) => {}
        }
        Ok(None)
    }

    /// The reply to a failed login comes at a fixed time after the command, however long the check
    /// took: the time does not tell whether the user exists, and guessing is slow.
    fn say_when_due(&mut self, reply: &[u8], due: Instant) -> io::Result<()> {
        self.flush()?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        self.say(reply)
    }

    /// Sends a message, stuffed, and the final dot (RFC 1939 §3). Tells how many octets it had.
    fn send(&mut self, message: Message) -> io::Result<u64> {
        let Message { mut file, lines, .. } = message;
        let mut stuffer = Stuffer::new();
        let mut top = lines.map(Top::new);
        loop {
            let count = match file.read(&mut self.piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Too late for -ERR, and an end would pass a part off as the whole.
                Err(error) => return Err(error),
            };
            let shown = self.piece.get(..count).unwrap_or_default();
            let taken = top.as_mut().map_or(count, |top| top.take(shown));
            let start = self.out.len();
            stuffer.feed(shown.get(..taken).unwrap_or_default(), &mut self.out);
            self.sent(start)?;
            if taken < count {
                break;
            }
        }
        let start = self.out.len();
        stuffer.finish(&mut self.out);
        self.sent(start)?;
        Ok(stuffer.octets())
    }

    fn say(&mut self, reply: &[u8]) -> io::Result<()> {
        let start = self.out.len();
        self.out.extend_from_slice(reply);
        self.sent(start)
    }

    /// What is behind `start` in the buffer is as good as sent.
    fn sent(&mut self, start: usize) -> io::Result<()> {
        if self.transcript.is_on() {
            let said = self.out.get(start..).unwrap_or_default();
            for line in said.split_inclusive(|&b| b == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                self.transcript.server(line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
        if self.out.len() >= self.piece.len() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.reader.get_mut().write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "session_tests/mod.rs"]
mod tests;
