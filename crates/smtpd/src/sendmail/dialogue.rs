//! SMTP on standard input and output (`-bs`), as old mail programs and `/usr/lib/sendmail -bs` have it: no login and no
//! TLS, because the client is the user who has called.

use std::io::{BufRead, ErrorKind, Read, Write};

use forknet::Error;
use netascii::dot_stuffing::{LineEnding, Unstuffer};
use netascii::line::{Line, LineReader};

use crate::client::Recipient;
use crate::protocol::MAX_LINE;
use crate::protocol::address::{self, Path, Tolerance};
use crate::protocol::params;
use crate::protocol::reply::Reply;
use crate::sendmail::failure::{Failure, Result};
use crate::sendmail::input::Letter;
use crate::sendmail::mailbox::completed;
use crate::sendmail::submission::{Envelope, Submission};

/// Most recipients of one letter.
const MAX_RECIPIENTS: usize = 1000;
/// What EHLO lists.
const EXTENSIONS: [&str; 6] =
    ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN", "HELP"];

/// A session of one client.
pub(super) struct Dialogue<'a, R, W> {
    submission: Submission<'a>,
    reader: LineReader<R>,
    out: W,
    /// The transaction, after MAIL.
    envelope: Option<Envelope>,
}

/// What follows a command.
enum Next {
    Reply(Reply),
    /// The text of a letter.
    Letter(Envelope),
    Close(Reply),
}

impl<'a, R: Read, W: Write> Dialogue<'a, R, W> {
    /// Begins a session.
    pub(super) fn new(submission: Submission<'a>, input: R, out: W) -> Dialogue<'a, R, W> {
        Dialogue { submission, reader: LineReader::new(input), out, envelope: None }
    }

    /// Serves the client to its QUIT, or to the end of its input.
    ///
    /// # Errors
    /// As read(2) and write(2).
    pub(super) fn run(&mut self) -> Result<()> {
        let host = self.submission.author.domain.clone();
        self.say(&Reply::plain(220, format!("{host} ESMTP forklore sendmail ready")))?;
        loop {
            let next = match self.reader.read_line(MAX_LINE) {
                Ok(Line::Text(line)) => {
                    let line = line.to_vec();
                    self.command(&line, &host)
                }
                Ok(Line::TooLong) => Next::Reply(Reply::new(500, "5.5.2", "Line too long")),
                Ok(Line::Eof) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io("standard input", error)),
            };
            match next {
                Next::Reply(reply) => self.say(&reply)?,
                Next::Letter(envelope) => {
                    self.say(&Reply::plain(354, "Send the letter, end with a line of a dot"))?;
                    let reply = self.letter(&envelope)?;
                    self.say(&reply)?;
                }
                Next::Close(reply) => return self.say(&reply),
            }
        }
    }

    fn say(&mut self, reply: &Reply) -> Result<()> {
        let text: String = reply.lines().map(|line| line + "\r\n").collect();
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| Failure::io("standard output", error))
    }

    fn command(&mut self, line: &[u8], host: &str) -> Next {
        let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        let (verb, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
        let rest = rest.trim_ascii();
        let reply = match verb.to_ascii_uppercase().as_slice() {
            b"EHLO" => {
                self.envelope = None;
                EXTENSIONS.iter().fold(Reply::plain(250, host), |reply, name| reply.and(*name))
            }
            b"HELO" => {
                self.envelope = None;
                Reply::plain(250, host)
            }
            b"RSET" => {
                self.envelope = None;
                Reply::new(250, "2.0.0", "OK")
            }
            b"MAIL" => self.mail(rest).unwrap_or_else(|refusal| refusal),
            b"RCPT" => self.rcpt(rest).unwrap_or_else(|refusal| refusal),
            b"DATA" if self.reader.ended_in_bare_lf() => {
                Reply::new(501, "5.5.2", "End DATA with CRLF: only CRLF.CRLF ends a letter")
            }
            b"DATA" => match self.envelope.take() {
                Some(envelope) if !envelope.recipients.is_empty() => return Next::Letter(envelope),
                kept => {
                    self.envelope = kept;
                    Reply::new(503, "5.5.1", "MAIL and RCPT first")
                }
            },
            b"NOOP" => Reply::new(250, "2.0.0", "OK"),
            b"VRFY" | b"EXPN" => Reply::new(252, "2.5.0", "Send a letter, and see"),
            b"HELP" => Reply::new(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY QUIT"),
            b"QUIT" => {
                return Next::Close(Reply::new(
                    221,
                    "2.0.0",
                    format!("{host} closes the connection"),
                ));
            }
            _ => Reply::new(500, "5.5.1", "Command not recognized"),
        };
        Next::Reply(reply)
    }

    fn mail(&mut self, rest: &[u8]) -> std::result::Result<Reply, Reply> {
        if self.envelope.is_some() {
            return Err(Reply::new(503, "5.5.1", "MAIL was given already"));
        }
        let (path, rest) = path(rest, b"FROM:", Tolerance::SENDER)?;
        let given = params::mail(rest)?;
        let sender = match &path {
            Path::Null => String::new(),
            _ => self.address(path)?,
        };
        let ret = given.ret.map(|ret| ret.keyword().to_owned()).unwrap_or_default();
        let envid = given.envid.unwrap_or_default();
        self.envelope = Some(Envelope { sender, ret, envid, ..Envelope::default() });
        Ok(Reply::new(250, "2.1.0", "Sender OK"))
    }

    fn rcpt(&mut self, rest: &[u8]) -> std::result::Result<Reply, Reply> {
        let (path, rest) = path(rest, b"TO:", Tolerance::RECIPIENT)?;
        let given = params::rcpt(rest, true)?;
        let address = self.address(path)?;
        let envelope = self.envelope.as_mut().ok_or(Reply::new(503, "5.5.1", "MAIL first"))?;
        if envelope.recipients.len() >= MAX_RECIPIENTS {
            return Err(Reply::new(452, "4.5.3", "Too many recipients"));
        }
        let notify = given.notify.map(params::Notify::keywords).unwrap_or_default();
        envelope.add(Recipient { address, notify, orcpt: given.orcpt.unwrap_or_default() });
        Ok(Reply::new(250, "2.1.5", "Recipient OK"))
    }

    fn address(&self, path: Path) -> std::result::Result<String, Reply> {
        completed(path, &self.submission.author.domain).map_err(|why| Reply::new(501, "5.1.3", why))
    }

    /// Reads the text to its end, and hands the letter in.
    fn letter(&mut self, envelope: &Envelope) -> Result<Reply> {
        let (mut unstuffer, mut text) = (Unstuffer::new(LineEnding::Lf), Vec::new());
        let (mut letter, mut failed) = (Letter::default(), None);
        while !unstuffer.is_done() {
            let input =
                self.reader.fill_buf().map_err(|error| Failure::io("standard input", error))?;
            if input.is_empty() {
                let why = "standard input: the letter has no end, and is not taken";
                return Err(Failure::temporary(Error::Refused(why.into())));
            }
            let taken = unstuffer.feed(input, &mut text);
            self.reader.consume(taken);
            if failed.is_none() {
                failed = letter.feed(&text).err();
            }
            text.clear();
        }
        if unstuffer.bare_cr() || unstuffer.bare_lf() {
            return Ok(Reply::new(550, "5.6.11", "Lines end in CRLF, and a bare CR or LF is none"));
        }
        let taken = match failed.map_or(Ok(()), Err).and_then(|()| letter.finish()) {
            Ok(()) => self.submission.take(envelope, &mut letter),
            Err(failure) => Err(failure),
        };
        Ok(match taken {
            Ok(id) => Reply::new(250, "2.0.0", id),
            Err(failure) if failure.is_temporary() => {
                Reply::new(451, "4.3.0", address::ascii(failure.error.to_string().as_bytes()))
            }
            Err(failure) => {
                Reply::new(554, "5.0.0", address::ascii(failure.error.to_string().as_bytes()))
            }
        })
    }
}

/// Reads `FROM:<address>` or `TO:<address>`; returns the parameters after it too.
fn path<'a>(
    rest: &'a [u8],
    word: &[u8],
    tolerance: Tolerance,
) -> std::result::Result<(Path, &'a [u8]), Reply> {
    let starts = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let after = if starts { rest.get(word.len()..) } else { None };
    let usage = || Reply::new(501, "5.5.4", "Syntax: MAIL FROM:<address>, RCPT TO:<address>");
    let after = after.ok_or_else(usage)?.trim_ascii_start();
    address::path(after, tolerance).map_err(|bad| Reply::new(501, "5.1.3", bad.0))
}
