//! The connection to one filter: each step of a session is sent, and its answer awaited.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::milter::answer::{Answer, Edit, Options, parse};
use crate::milter::packet::{malformed, packet, read, texts};
use crate::protocol::reply::Reply;

/// Version of the protocol, a number, since sendmail 8.14.
const VERSION: u32 = 6;
/// The first version that filters still speak, a number.
const FIRST_VERSION: u32 = 2;

// What a filter may change, if it is offered (mfdef.h: SMFIF_…).
/// Bit: add and insert fields.
const ADD_FIELDS: u32 = 0x01;
/// Bit: give the letter another body.
const CHANGE_BODY: u32 = 0x02;
/// Bit: change and remove fields.
const CHANGE_FIELDS: u32 = 0x10;
/// Bit: keep the letter back.
const QUARANTINE: u32 = 0x20;

/// Steps that a filter wants to be left out, or does not answer (mfdef.h: SMFIP_…).
const NO_CONNECT: u32 = 0x01;
const NO_HELO: u32 = 0x02;
const NO_MAIL: u32 = 0x04;
const NO_RCPT: u32 = 0x08;
const NO_BODY: u32 = 0x10;
const NO_FIELDS: u32 = 0x20;
const NO_END_OF_HEADER: u32 = 0x40;
const SILENT_FIELDS: u32 = 0x80;
const NO_UNKNOWN: u32 = 0x100;
const NO_DATA: u32 = 0x200;
const MAY_SKIP: u32 = 0x400;
const SILENT_CONNECT: u32 = 0x1000;
const SILENT_HELO: u32 = 0x2000;
const SILENT_MAIL: u32 = 0x4000;
const SILENT_RCPT: u32 = 0x8000;
const SILENT_DATA: u32 = 0x1_0000;
const SILENT_UNKNOWN: u32 = 0x2_0000;
const SILENT_END_OF_HEADER: u32 = 0x4_0000;
const SILENT_BODY: u32 = 0x8_0000;
/// Bit: values of fields come with the blank after the colon.
const LEADING_BLANK: u32 = 0x10_0000;
/// What is offered of the above, the last 21 bits but SMFIP_RCPT_REJ.
const STEPS: u32 = NO_CONNECT
    | NO_HELO
    | NO_MAIL
    | NO_RCPT
    | NO_BODY
    | NO_FIELDS
    | NO_END_OF_HEADER
    | SILENT_FIELDS
    | NO_UNKNOWN
    | NO_DATA
    | MAY_SKIP
    | SILENT_CONNECT
    | SILENT_HELO
    | SILENT_MAIL
    | SILENT_RCPT
    | SILENT_DATA
    | SILENT_UNKNOWN
    | SILENT_END_OF_HEADER
    | SILENT_BODY
    | LEADING_BLANK;

/// Longest wait for the answer to a step.
const STEP_WAIT: Duration = Duration::from_secs(30);
/// Longest wait for a packet of the answer to the end of a letter.
const END_WAIT: Duration = Duration::from_secs(120);
/// Longest wait for all answers about one letter: the client waits ten minutes for the reply (RFC 5321 §4.5.3.2.6),
/// and the delivery follows.
const LETTER_LIMIT: Duration = Duration::from_secs(240);
/// Longest piece of a body in bytes (mfdef.h: MILTER_CHUNK_SIZE).
const MAX_PIECE: usize = 65_535;
/// Most changes of a letter, a number.
const MAX_EDITS: usize = 1000;
/// Most bytes of the names and values of all changes of a letter.
const MAX_EDIT_BYTES: usize = 256 * 1024;

/// A stream whose waits have a limit.
pub trait Timed: Read + Write {
    /// Sets the longest wait.
    fn set_limit(&mut self, limit: Duration);
}

impl Timed for forknet::Connection {
    fn set_limit(&mut self, limit: Duration) {
        self.set_idle(limit);
    }
}

/// A step of a session, as a command of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The client's name and address.
    Connect,
    /// HELO or EHLO.
    Hello,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// A field of the header.
    Field,
    /// The end of the header.
    EndOfHeader,
    /// A piece of the body.
    Body,
}

impl Step {
    /// The command, the bit that leaves it out, and the one by which it is not answered.
    fn bits(self) -> (u8, u32, u32) {
        match self {
            Step::Connect => (b'C', NO_CONNECT, SILENT_CONNECT),
            Step::Hello => (b'H', NO_HELO, SILENT_HELO),
            Step::Mail => (b'M', NO_MAIL, SILENT_MAIL),
            Step::Recipient => (b'R', NO_RCPT, SILENT_RCPT),
            Step::Data => (b'T', NO_DATA, SILENT_DATA),
            Step::Field => (b'L', NO_FIELDS, SILENT_FIELDS),
            Step::EndOfHeader => (b'N', NO_END_OF_HEADER, SILENT_END_OF_HEADER),
            Step::Body => (b'B', NO_BODY, SILENT_BODY),
        }
    }
}

/// What a filter says to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Go on.
    Continue,
    /// Take it, and ask no more about it.
    Accept,
    /// Take it, and throw it away.
    Discard,
    /// Refuse it.
    Refuse(Reply),
}

/// What a filter says at the end of a letter.
#[derive(Debug, Default)]
pub struct Changes {
    /// Of the header.
    pub edits: Vec<Edit>,
    /// The body in place of the letter's, with CRLF.
    pub body: Option<Vec<u8>>,
    /// The reason for which the letter is kept back.
    pub quarantine: Option<String>,
}

/// A connection after the negotiation.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    steps: u32,
    /// The filter wants no more pieces of this body.
    skips_body: bool,
    /// A letter was begun, and has no end.
    in_letter: bool,
    /// Time that its answers have taken.
    waited: Duration,
}

/// Macros: names, which are in braces where they have several letters, and values.
pub type Macros<'a> = &'a [(&'a str, &'a str)];

impl<S: Timed> Connection<S> {
    /// Agrees with a filter on what is sent and what it may do; `can_quarantine`: keep a letter back.
    ///
    /// # Errors
    /// Those of the stream; `InvalidData` for an answer that is none.
    pub fn negotiate(mut stream: S, can_quarantine: bool) -> io::Result<Connection<S>> {
        stream.set_limit(STEP_WAIT);
        let quarantine = if can_quarantine { QUARANTINE } else { 0 };
        let actions = ADD_FIELDS | CHANGE_BODY | CHANGE_FIELDS | quarantine;
        let numbers = [VERSION, actions, STEPS].map(u32::to_be_bytes);
        let offered = packet(b'O', &numbers.concat());
        stream.write_all(&offered)?;
        let (command, data) = read(&mut stream)?;
        match parse(command, data)? {
            // A filter that asks for more actions may yet do without them.
            Answer::Options(Options { version, steps, .. }) if version >= FIRST_VERSION => {
                let steps = steps & STEPS;
                let (skips_body, in_letter, waited) = (false, false, Duration::ZERO);
                Ok(Connection { stream, steps, skips_body, in_letter, waited })
            }
            Answer::Options(_) => Err(malformed("a version before 2")),
            _ => Err(malformed("no options")),
        }
    }

    /// Whether a step is sent at all.
    #[must_use]
    pub fn wants(&self, step: Step) -> bool {
        self.steps & step.bits().1 == 0 && (step != Step::Body || !self.skips_body)
    }

    /// Sends a step with its macros, and returns the answer.
    ///
    /// # Errors
    /// Those of the stream; `InvalidData` for an answer that is none.
    pub fn step(&mut self, step: Step, data: &[u8], macros: Macros<'_>) -> io::Result<Said> {
        if step == Step::Mail {
            self.abort()?;
            (self.in_letter, self.skips_body, self.waited) = (true, false, Duration::ZERO);
        }
        if !self.wants(step) {
            return Ok(Said::Continue);
        }
        let (command, _, silent) = step.bits();
        let mut out = macro_packet(command, macros);
        out.extend(packet(command, data));
        self.stream.set_limit(STEP_WAIT);
        self.stream.write_all(&out)?;
        if self.steps & silent != 0 {
            return Ok(Said::Continue);
        }
        loop {
            return Ok(match self.answer()? {
                Answer::Continue => Said::Continue,
                Answer::Accept => Said::Accept,
                Answer::Discard => Said::Discard,
                Answer::Refuse(reply) => Said::Refuse(reply),
                Answer::Progress => continue,
                Answer::Skip if step == Step::Body => {
                    self.skips_body = true;
                    Said::Continue
                }
                _ => return Err(malformed("an answer that this step has not")),
            });
        }
    }

    /// Sends a field of the header, whose value follows the colon.
    ///
    /// # Errors
    /// As [`Connection::step`].
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> io::Result<Said> {
        let leads = self.steps & LEADING_BLANK != 0;
        let bare = value.strip_prefix(b" ").unwrap_or(value);
        self.step(Step::Field, &texts(&[name, if leads { value } else { bare }]), &[])
    }

    /// Sends a part of the body, whose lines end in CRLF.
    ///
    /// # Errors
    /// As [`Connection::step`].
    pub fn body(&mut self, text: &[u8]) -> io::Result<Said> {
        for piece in text.chunks(MAX_PIECE) {
            match self.step(Step::Body, piece, &[])? {
                Said::Continue => {}
                other => return Ok(other),
            }
        }
        Ok(Said::Continue)
    }

    /// Sends the end of the letter; returns the answer, and the changes.
    ///
    /// # Errors
    /// As [`Connection::step`]; `InvalidData` for changes that were not offered or are too many.
    pub fn end(&mut self, macros: Macros<'_>) -> io::Result<(Said, Changes)> {
        let out = [macro_packet(b'E', macros), packet(b'E', b"")].concat();
        self.stream.set_limit(END_WAIT);
        self.stream.write_all(&out)?;
        let (mut changes, mut bytes) = (Changes::default(), 0);
        loop {
            let said = match self.answer()? {
                Answer::Continue | Answer::Accept => Said::Continue,
                Answer::Discard => Said::Discard,
                Answer::Refuse(reply) => Said::Refuse(reply),
                Answer::Progress => continue,
                Answer::Quarantine(reason) => {
                    changes.quarantine = Some(reason);
                    continue;
                }
                Answer::Edit(edit) => {
                    bytes += size(&edit);
                    if changes.edits.len() >= MAX_EDITS || bytes > MAX_EDIT_BYTES {
                        return Err(malformed("too many changes"));
                    }
                    changes.edits.push(edit);
                    continue;
                }
                Answer::Body(piece) => {
                    changes.body.get_or_insert_default().extend(piece);
                    if changes.body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
                        return Err(malformed("a new body that is too long"));
                    }
                    continue;
                }
                Answer::NotOffered(command) => {
                    let command = char::from(command);
                    let why = format!("action '{command}', which is not done here");
                    return Err(malformed(&why));
                }
                Answer::Skip | Answer::Options(_) => {
                    return Err(malformed("an answer that the end has not"));
                }
            };
            self.in_letter = false;
            return Ok((said, changes));
        }
    }

    /// Ends a letter that was begun; nothing answers that.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn abort(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.in_letter) {
            self.stream.write_all(&packet(b'A', b""))?;
        }
        Ok(())
    }

    /// Says that the session has ended.
    pub fn quit(&mut self) {
        let _ = self.stream.write_all(&packet(b'Q', b"")); // the end of the stream says it too
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let since = Instant::now();
        let (command, data) = read(&mut self.stream)?;
        self.waited = self.waited.saturating_add(since.elapsed());
        if self.waited > LETTER_LIMIT {
            return Err(io::ErrorKind::TimedOut.into());
        }
        parse(command, data)
    }
}

/// Longest new body in bytes, which this process holds.
const MAX_BODY: usize = 4 << 20;

fn size(edit: &Edit) -> usize {
    let (Edit::Add { name, value }
    | Edit::Insert { name, value, .. }
    | Edit::Change { name, value, .. }) = edit;
    name.len() + value.len()
}

/// Returns the packet with the macros of a command; nothing where there are none.
fn macro_packet(command: u8, macros: Macros<'_>) -> Vec<u8> {
    if macros.is_empty() {
        return Vec::new();
    }
    let all: Vec<&[u8]> =
        macros.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
    packet(b'D', &[&[command], &texts(&all)[..]].concat())
}

#[cfg(test)]
mod tests;
