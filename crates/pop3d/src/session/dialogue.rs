//! Lines in, replies out: what the two processes of a session have in common.

use std::io::{self, ErrorKind, Read, Write};

use forknet::{Leftover, Title, Transcript, in_title, is_shutdown, reason};
use netascii::dot_stuffing::Stuffer;
use netascii::line::{Line, LineReader};

use crate::protocol::Protocol;
use crate::protocol::outcome::{Attempt, Message, Outcome};
use crate::protocol::top::Top;

/// Size in bytes of the buffer for replies, and of a read of a message.
pub const BUFFER: usize = 64 * 1024;

fn is_disconnect(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// How the exchange of commands ended.
pub enum End {
    /// By QUIT; UPDATE follows.
    Quit,
    /// By the server, after its last reply.
    Closed,
    /// By the client, which closed its side.
    Eof,
    /// Not yet: TLS begins.
    StartTls,
    /// Not yet: a login is to be checked.
    LogIn(Attempt),
}

/// A session over a stream, in front or in the process of the mailbox.
pub struct Session<'a, S> {
    pub(super) reader: LineReader<S>,
    /// Replies not sent yet.
    pub(super) out: Vec<u8>,
    /// Most bytes of replies that wait, and of a piece of a message.
    size: usize,
    /// A piece of the message being sent: empty before the first.
    piece: Vec<u8>,
    transcript: &'a mut Transcript,
    pub(super) title: Title,
    /// A line that begins with `+ ` is a challenge of AUTH.
    pub(super) has_challenges: bool,
}

impl<'a, S: Read + Write> Session<'a, S> {
    /// Returns a session that goes on where another left off, with buffers of `size` bytes and without a
    /// title.
    pub fn new(
        size: usize,
        (left, stream): (&Leftover, S),
        transcript: &'a mut Transcript,
    ) -> Session<'a, S> {
        let reader = LineReader::with_unread(&left.unread, stream);
        let (out, piece) = (left.unsent.clone(), Vec::new());
        let (title, has_challenges) = (Title::none(), false);
        Session { reader, out, size, piece, transcript, title, has_challenges }
    }

    pub(super) fn with_title(mut self, title: Title) -> Session<'a, S> {
        self.title = title;
        self
    }

    /// Ends the whole session.
    pub(super) fn end(self, protocol: Protocol, end: io::Result<End>) -> io::Result<()> {
        let why = match end {
            Ok(End::Quit) => return self.quit(protocol),
            Ok(End::Closed) => "was disconnected",
            Ok(End::Eof) => "went without QUIT",
            Ok(End::LogIn(_) | End::StartTls) => "logged in twice", // no command of TRANSACTION does
            Err(error) if error.kind() == ErrorKind::TimedOut => "was silent for too long",
            Err(error) if is_shutdown(&error) => "was ended by the server",
            Err(error) if is_disconnect(error.kind()) => "lost the connection",
            Err(error) => {
                protocol.abandon(&format!("session broken off, {}", reason(&error)));
                return Err(error);
            }
        };
        protocol.abandon(why);
        Ok(())
    }

    fn quit(mut self, protocol: Protocol) -> io::Result<()> {
        // Otherwise it takes less time than the title, for which another process has to wake up.
        if protocol.removes() {
            self.show(&protocol, "UPDATE");
        }
        let reply = protocol.update();
        self.queue(&reply)?;
        self.flush()
    }

    /// Shows the state in the process title. The name appears only after the login, because a name
    /// sent before may be a password typed too early, and every user of the machine can read
    /// titles.
    pub(super) fn show(&self, protocol: &Protocol, state: &str) {
        match protocol.user() {
            Some(user) => {
                self.title.set(format_args!("{} {state}", in_title(user.as_bytes())));
            }
            None => self.title.set(state),
        }
    }

    /// Reads lines and performs their outcomes, up to the end of the session or a login.
    pub(super) fn converse(&mut self, protocol: &mut Protocol) -> io::Result<End> {
        loop {
            // Replies wait while complete commands are buffered, so that they are sent in one
            // write.
            if !self.reader.buffered().contains(&b'\n') {
                self.flush()?;
            }
            let outcome = match self.reader.read_line(protocol.max_line())? {
                Line::Eof => return Ok(End::Eof),
                Line::TooLong => {
                    self.transcript.client(b"[a line that is too long]");
                    protocol.line_too_long()
                }
                Line::Text(line) => {
                    if self.transcript.is_on() {
                        self.transcript.client(&protocol.masked(line));
                    }
                    protocol.line(line)
                }
            };
            if let Some(end) = self.perform(protocol, outcome)? {
                return Ok(end);
            }
        }
    }

    /// Performs an outcome. Returns how the session ends, if it does.
    pub(super) fn perform(
        &mut self,
        protocol: &mut Protocol,
        outcome: Outcome,
    ) -> io::Result<Option<End>> {
        match outcome {
            Outcome::Reply(reply) | Outcome::BadCommand(reply) => self.queue(&reply)?,
            Outcome::Listing(reply, column) => {
                self.queue(&reply)?;
                protocol.listing(column, |row| self.queue(row))?;
                self.queue(b".\r\n")?;
            }
            Outcome::Capabilities => self.queue(&protocol.capabilities())?,
            Outcome::Message(message) => self.send(protocol, message)?,
            Outcome::StartTls(reply) => {
                self.queue(&reply)?;
                self.flush()?;
                return Ok(Some(End::StartTls));
            }
            Outcome::LogIn(attempt) => return Ok(Some(End::LogIn(attempt))),
            Outcome::Close(reply) => {
                self.queue(&reply)?;
                self.flush()?;
                return Ok(Some(End::Closed));
            }
            Outcome::Quit => {
                // A client that pipelines RETR, DELE and QUIT must have received the message, as
                // far as TCP can report, before it is removed.
                self.flush()?;
                return Ok(Some(End::Quit));
            }
        }
        Ok(None)
    }

    /// Sends the reply and a message, dot-stuffed, and the final dot (RFC 1939 §3). The first piece is read before
    /// the reply, which can then still be -ERR.
    fn send(&mut self, protocol: &mut Protocol, mut message: Message) -> io::Result<()> {
        self.piece.resize(self.size, 0);
        let count = match read_piece(&mut message.text, &mut self.piece) {
            Ok(count) => count,
            Err(error) => {
                let reply = protocol.cannot_read(message.index, error);
                return self.queue(&reply);
            }
        };
        let start = self.piece.get(..count).unwrap_or_default();
        let (reply, header) = match protocol.begin_message(&message, start, count < self.size) {
            Ok(begun) => begun,
            Err(refusal) => return self.queue(&refusal),
        };
        self.queue(&reply)?;
        let mut stuffer = Stuffer::new();
        let sent = self.send_text(protocol, &mut message, (count, header), &mut stuffer);
        protocol.count_sent(message.lines.is_some(), stuffer.octets());
        sent?;
        if message.lines.is_none() {
            protocol.sent(message.index, stuffer.octets());
        }
        Ok(())
    }

    /// Sends the text, of which a piece of `count` bytes was read. The header that stands in place of its first bytes comes
    /// before.
    fn send_text(
        &mut self,
        protocol: &mut Protocol,
        message: &mut Message,
        (mut count, header): (usize, Option<(usize, Vec<u8>)>),
        stuffer: &mut Stuffer,
    ) -> io::Result<()> {
        let mut top = message.lines.map(Top::new);
        let mut is_cut = false;
        let mut from = 0;
        if let Some((used, header)) = header {
            let start = self.out.len();
            is_cut = stuff(&header, &mut top, stuffer, &mut self.out);
            self.queued(start)?;
            from = used;
        }
        while !is_cut {
            let piece = self.piece.get(from..count).unwrap_or_default();
            let start = self.out.len();
            is_cut = stuff(piece, &mut top, stuffer, &mut self.out);
            self.queued(start)?;
            if count < self.size {
                break;
            }
            if !is_cut {
                let read = read_piece(&mut message.text, &mut self.piece);
                // Now it is too late for -ERR, and a final dot would make the truncated message look complete.
                let read = read.map_err(|error| protocol.cut_off(message.index, error));
                (count, from) = (read?, 0);
            }
        }
        let start = self.out.len();
        stuffer.finish(&mut self.out);
        self.queued(start)
    }

    pub(super) fn queue(&mut self, reply: &[u8]) -> io::Result<()> {
        let start = self.out.len();
        self.out.extend_from_slice(reply);
        self.queued(start)
    }

    /// Writes the bytes queued from `start` on to the transcript, and flushes a full buffer.
    fn queued(&mut self, start: usize) -> io::Result<()> {
        if self.transcript.is_on() {
            let queued = self.out.get(start..).unwrap_or_default();
            for line in queued.split_inclusive(|&b| b == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                // By what the server proves itself, passwords can be tried.
                let is_challenge = self.has_challenges && line.starts_with(b"+ ") && line != b"+ ";
                self.transcript.server(if is_challenge { b"+ ********" } else { line });
            }
        }
        if self.out.len() >= self.size { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.reader.get_mut().write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// Fills a piece with text; it is not full where the text ends.
fn read_piece(text: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while let Some(room @ [_, ..]) = piece.get_mut(count..) {
        match text.read(room) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Stuffs a piece, as far as TOP wants it. Returns whether that is not all of it.
fn stuff(piece: &[u8], top: &mut Option<Top>, stuffer: &mut Stuffer, out: &mut Vec<u8>) -> bool {
    let taken = top.as_mut().map_or(piece.len(), |top| top.take(piece));
    stuffer.feed(piece.get(..taken).unwrap_or_default(), out);
    taken < piece.len()
}
