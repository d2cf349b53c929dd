//! Commands to a server and its replies (RFC 1939 §3), with a limit for everything it may say.

use std::io::{BufRead, Read, Write};

use forknet::{Error, Result};
use netascii::dot::{Ending, Unstuffer};
use netascii::line::{Line, LineReader};

use crate::command::{masked, split};

/// The longest line of a reply or a listing. RFC 1939 §3 allows 512 octets; some servers say more.
const LINE_LIMIT: usize = 4096;
/// The most lines of a listing.
const MAX_ROWS: usize = 1_000_000;
/// The most octets of a listing.
const MAX_LISTING: usize = 128 << 20;
/// The largest message.
const MAX_MESSAGE: u64 = 1 << 30;
/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// One dialogue with a server.
pub(crate) struct Dialogue<S> {
    reader: LineReader<S>,
    place: String,
    verbose: bool,
    greeting: Vec<u8>,
    broken: bool,
}

impl<S: Read + Write> Dialogue<S> {
    /// Hears the greeting. `place` is for error messages.
    pub(crate) fn start(stream: S, place: String, verbose: bool) -> Result<Dialogue<S>> {
        let reader = LineReader::with_capacity(BUFFER, stream);
        let mut dialogue = Dialogue { reader, place, verbose, greeting: Vec::new(), broken: false };
        dialogue.greeting = dialogue.reply("greeting")?;
        Ok(dialogue)
    }

    /// The text of the greeting.
    pub(crate) fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    /// Whether the dialogue cannot go on: the connection is gone, or what was said made no sense.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Says nothing more, QUIT included: the server removes nothing.
    pub(crate) fn hang_up(&mut self) {
        self.broken = true;
    }

    /// Says a command and hears the text behind its `+OK`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's words for `-ERR`.
    pub(crate) fn command(&mut self, command: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let command = command.as_ref();
        self.say(command)?;
        let (keyword, _) = split(command);
        let shown = if matches!(keyword, b"PASS" | b"APOP") { keyword } else { command };
        self.reply(&String::from_utf8_lossy(shown))
    }

    fn say(&mut self, command: &[u8]) -> Result<()> {
        if command.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(Error::Refused("a name or password with a line end in it".to_owned()));
        }
        self.trace('C', &masked(command));
        let sent = self.reader.get_mut().write_all(&[command, b"\r\n"].concat());
        sent.map_err(|error| self.lost(error))
    }

    fn reply(&mut self, about: &str) -> Result<Vec<u8>> {
        let line = self.line(about)?.ok_or_else(|| self.gone(about))?;
        match split(&line) {
            (b"+OK", text) => Ok(text.unwrap_or_default().to_vec()),
            (b"-ERR", _) => {
                let said = line.escape_ascii();
                Err(Error::Refused(format!("{}: {about}: {said}", self.place)))
            }
            _ => Err(self.nonsense(about)),
        }
    }

    /// The rows of a listing, up to the line of a dot; the dots of others are unstuffed.
    pub(crate) fn listing(&mut self, about: &str) -> Result<Vec<Vec<u8>>> {
        let mut rows = Vec::new();
        let mut octets = 0;
        loop {
            let row = self.line(about)?.ok_or_else(|| self.gone(about))?;
            octets += row.len();
            match row.strip_prefix(b".") {
                Some(b"") => return Ok(rows),
                Some(rest) => rows.push(rest.to_vec()),
                None => rows.push(row),
            }
            if rows.len() > MAX_ROWS || octets > MAX_LISTING {
                return Err(self.too_much(about));
            }
        }
    }

    /// A message, up to its line of a dot, handed on in pieces: unstuffed, lines ending in LF.
    pub(crate) fn message(
        &mut self,
        about: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut unstuffer = Unstuffer::new(Ending::Lf);
        let mut piece = Vec::new();
        while !unstuffer.is_done() {
            piece.clear();
            let taken = match self.reader.fill_buf() {
                Ok([]) => return Err(self.gone(about)),
                Ok(input) => unstuffer.feed(input, &mut piece),
                Err(error) => return Err(self.lost(error)),
            };
            self.reader.consume(taken);
            if unstuffer.octets() > MAX_MESSAGE {
                return Err(self.too_much(about));
            }
            // What cannot be stored leaves the dialogue in the middle of a message.
            each(&piece).inspect_err(|_| self.broken = true)?;
        }
        self.trace('S', format!("[a message of {} octets]", unstuffer.octets()).as_bytes());
        Ok(())
    }

    fn line(&mut self, about: &str) -> Result<Option<Vec<u8>>> {
        let line = match self.reader.read_line(LINE_LIMIT) {
            Ok(Line::Text(text)) => text.to_vec(),
            Ok(Line::TooLong) => return Err(self.too_much(about)),
            Ok(Line::Eof) => return Ok(None),
            Err(error) => return Err(self.lost(error)),
        };
        self.trace('S', &line);
        Ok(Some(line))
    }

    /// The server said something that is no POP3.
    pub(crate) fn nonsense(&mut self, about: &str) -> Error {
        self.broken = true;
        Error::Refused(format!("{}: {about}: the reply is no POP3", self.place))
    }

    fn too_much(&mut self, about: &str) -> Error {
        self.broken = true;
        Error::Refused(format!("{}: {about}: the server says more than it may", self.place))
    }

    fn gone(&mut self, about: &str) -> Error {
        self.broken = true;
        Error::Refused(format!("{}: {about}: the server closed the connection", self.place))
    }

    fn lost(&mut self, error: std::io::Error) -> Error {
        self.broken = true;
        Error::io(self.place.clone())(error)
    }

    fn trace(&self, who: char, line: &[u8]) {
        if self.verbose {
            // Nobody reads it: no reason to stop.
            let _ = writeln!(std::io::stderr(), "{who}: {}", line.escape_ascii());
        }
    }
}

/// The size in `+OK 120 octets`, a hint for a progress bar and for nothing else.
pub(crate) fn octets_told(text: &[u8]) -> Option<u64> {
    let word = text.split(|&b| b == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
pub(crate) mod tests;
