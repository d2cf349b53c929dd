//! One client's conversation, over any stream.

use std::io::{self, ErrorKind, Read, Write};

use forknet::{Client, Title, Transcript};
use jiff::{Timestamp, Zoned};
use netascii::line::{Line, LineReader};

use crate::delivery::Incoming;
use crate::dialogue::{Action, Dialogue, MAX_COMMAND, MAX_MAIL_EXTRA};
use crate::envelope::Caller;
use crate::letter::{Letter, Outcome};
use crate::options::Config;
use crate::reply::Reply;
use crate::trace;

/// Octets that one read asks for.
const INPUT: usize = 32 * 1024;
/// Replies to pipelined commands are collected up to so many octets (RFC 2920 §3.2).
const OUTPUT: usize = 16 * 1024;

/// Serves one client from the greeting to the end.
///
/// # Errors
/// As the stream's `read` and `write`; a client that is silent for too long, and the end of the
/// server, are no errors: the client is told.
pub fn smtp_session(config: &Config, client: &mut Client) -> io::Result<()> {
    let caller = Caller {
        name: client.peer.to_string(),
        ip: client.peer.ip(),
        is_loopback: client.peer.is_loopback(),
    };
    Session::new(config, caller, &mut client.conn, &mut client.transcript, client.title).run()
}

/// The state of a conversation.
#[derive(Debug)]
pub struct Session<'a, S> {
    config: &'a Config,
    reader: LineReader<S>,
    out: Vec<u8>,
    dialogue: Dialogue<'a>,
    transcript: &'a mut Transcript,
}

impl<'a, S: Read + Write> Session<'a, S> {
    /// A conversation that has not begun.
    pub fn new(
        config: &'a Config,
        caller: Caller,
        stream: S,
        transcript: &'a mut Transcript,
        title: Title,
    ) -> Session<'a, S> {
        Session {
            config,
            reader: LineReader::with_capacity(INPUT, stream),
            out: Vec::new(),
            dialogue: Dialogue::new(config, caller, title),
            transcript,
        }
    }

    /// The whole conversation.
    ///
    /// # Errors
    /// As the stream's `read` and `write`.
    pub fn run(mut self) -> io::Result<()> {
        self.say(&self.dialogue.greeting());
        let ended = self.converse();
        let farewell = match ended.as_ref().map_err(io::Error::kind) {
            Ok(()) => None,
            Err(ErrorKind::TimedOut) => Some(("4.4.2", "idle too long")),
            Err(ErrorKind::ConnectionAborted) => Some(("4.3.2", "shutting down")),
            Err(ErrorKind::InvalidData) => Some(("4.7.0", "no end of this in sight")),
            // Within a letter, which was logged; there is nobody left to answer.
            Err(ErrorKind::UnexpectedEof) => return Ok(()),
            Err(_) => return ended,
        };
        if let Some((status, why)) = farewell {
            let text = format!("{} closes the connection: {why}", self.config.hostname);
            let reply = Reply::new(421, status, text);
            log::info!("{}: {}", self.peer(), reply.lines().collect::<String>());
            self.say(&reply);
        }
        self.flush()
    }

    fn peer(&self) -> &str {
        &self.dialogue.caller().name
    }

    /// Command by command until QUIT, the end of the stream, or one bad command too many.
    fn converse(&mut self) -> io::Result<()> {
        loop {
            if self.out.len() > OUTPUT || !self.reader.buffered().contains(&b'\n') {
                self.flush()?;
            }
            // Longer ones are refused by their verbs; none is ever cut short and done.
            let (line, action) = match self.reader.read_line(MAX_COMMAND + MAX_MAIL_EXTRA)? {
                Line::Eof => return Ok(()),
                Line::TooLong => (b"[line too long]".to_vec(), self.dialogue.too_long()),
                Line::Text(line) => (line.to_vec(), self.dialogue.command(line)),
            };
            let line = masked(line);
            self.transcript.client(&line);
            match action {
                Action::Answer(reply) => self.answer(&line, &reply),
                Action::Letter => self.letter()?,
                Action::Leave(reply) => {
                    self.answer(&line, &reply);
                    return Ok(());
                }
            }
        }
    }

    /// Answers a command; a refusal is logged.
    fn answer(&mut self, line: &[u8], reply: &Reply) {
        if !reply.is_positive() {
            let said = reply.lines().collect::<Vec<_>>().join(" ");
            let line = line.get(..200).unwrap_or(line).escape_ascii();
            log::info!("{}: refused \"{line}\": {said}", self.peer());
        }
        self.say(reply);
    }

    /// Takes the letter in and tells what became of it.
    fn letter(&mut self) -> io::Result<()> {
        let now = Timestamp::now().to_zoned(self.config.zone.clone());
        let id = trace::new_id(&now);
        let (reply, accepted) = match self.receive(&id, &now)? {
            Outcome::Delivered(size) => {
                self.log_delivered(&id, size);
                (Reply::new(250, "2.0.0", format!("Delivered, id {id}")), true)
            }
            Outcome::Refused(reply, why) => {
                self.log_refused(&id, &reply, &why);
                (reply, false)
            }
        };
        self.dialogue.letter_done(accepted);
        self.say(&reply);
        // At once: a client that misses this reply sends the letter a second time (RFC 1047).
        self.flush()
    }

    /// 354, and the letter up to its end. One that breaks off leaves nothing.
    fn receive(&mut self, id: &str, now: &Zoned) -> io::Result<Outcome> {
        let (caller, hello) = (self.dialogue.caller(), self.dialogue.hello());
        let envelope = self.dialogue.envelope();
        let incoming = match Incoming::create(&envelope.recipients) {
            Ok(incoming) => incoming,
            Err(error) => return Ok(Outcome::Refused(error.reply(), error.to_string())),
        };
        let trace = trace::return_path(&envelope.sender)
            + &trace::received(&self.config.hostname, caller, hello, envelope, id, now);
        let letter = Letter::new(self.config, incoming, &trace);
        let go_on = Reply::plain(354, "Send the letter; end with <CRLF>.<CRLF>");
        say(&mut self.out, self.transcript, &go_on);
        flush(&mut self.out, &mut self.reader)?;
        letter.receive(&mut self.reader, self.transcript).inspect_err(|error| {
            log::info!("{}: letter {id} broke off: {}", caller.name, forknet::reason(error));
        })
    }

    fn log_delivered(&self, id: &str, size: u64) {
        let envelope = self.dialogue.envelope();
        let to = names(envelope.recipients.iter().map(|recipient| recipient.address.as_str()));
        let from = &envelope.sender;
        log::info!("{}: delivered id={id} from=<{from}> to={to} size={size}", self.peer());
    }

    fn log_refused(&self, id: &str, reply: &Reply, why: &str) {
        let envelope = self.dialogue.envelope();
        let to = names(envelope.recipients.iter().map(|recipient| recipient.address.as_str()));
        let (from, peer) = (&envelope.sender, self.peer());
        let level = if reply.code() < 500 { log::Level::Error } else { log::Level::Info };
        let said = reply.lines().collect::<String>();
        log::log!(level, "{peer}: letter refused id={id} from=<{from}> to={to}: {why}: {said}");
    }

    fn say(&mut self, reply: &Reply) {
        say(&mut self.out, self.transcript, reply);
    }

    fn flush(&mut self) -> io::Result<()> {
        flush(&mut self.out, &mut self.reader)
    }
}

/// A command line for the log and the transcript. A client may try AUTH, unasked, and what follows
/// the mechanism is its password.
fn masked(mut line: Vec<u8>) -> Vec<u8> {
    let space = |b: &u8| matches!(b, b' ' | b'\t');
    let is_auth = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    if is_auth && line.get(4).is_some_and(space) {
        let secret = line.iter().enumerate().skip(5).find(|(_, b)| space(b)).map(|(at, _)| at);
        if let Some(at) = secret {
            line.truncate(at);
            line.extend_from_slice(b" ***");
        }
    }
    line
}

fn say(out: &mut Vec<u8>, transcript: &mut Transcript, reply: &Reply) {
    for line in reply.lines() {
        transcript.server(line.as_bytes());
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn flush<S: Read + Write>(out: &mut Vec<u8>, reader: &mut LineReader<S>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    reader.get_mut().write_all(out)?;
    out.clear();
    reader.get_mut().flush()
}

/// `<a@b>,<c@d>`, at most ten of them.
fn names<'n>(addresses: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = addresses.len().saturating_sub(10);
    let some: Vec<String> = addresses.take(10).map(|address| format!("<{address}>")).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    some.join(",") + &rest
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
