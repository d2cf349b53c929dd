//! DATA: the letter itself, from the 354 to its true end, in memory that does not grow with it.

use std::io::{self, BufRead, ErrorKind, Read};

use forknet::Transcript;
use netascii::dot::{Ending, Unstuffer};
use netascii::line::LineReader;

use crate::delivery::{self, Incoming};
use crate::header::HeaderFilter;
use crate::options::Config;
use crate::reply::Reply;

/// From so many `Received:` fields on a letter goes in circles (RFC 5321 §6.3).
const MAX_RECEIVED: usize = 100;
/// A letter that is known to be refused is read on to its end, unless that does not come within
/// another `--max-size` and so many octets: then none is to be expected.
const MAX_OVERRUN: u64 = 64 << 20;
/// What is collected before it is written to the disk in one go.
const CHUNK: usize = 64 * 1024;
/// So much of a line of the letter is kept for the transcript.
const MAX_TRANSCRIPT_LINE: usize = 2001;

/// What became of a letter.
#[derive(Debug)]
pub enum Outcome {
    /// It is with every recipient; its size as RFC 1870 counts it.
    Delivered(u64),
    /// It is with nobody; the reply says why to the client, the text says it to the log.
    Refused(Reply, String),
}

/// A letter that is being received.
#[derive(Debug)]
pub struct Letter<'a> {
    config: &'a Config,
    unstuffer: Unstuffer,
    header: HeaderFilter,
    /// Gone once the letter is known to be refused; the rest is read all the same.
    incoming: Option<Incoming<'a>>,
    failure: Option<delivery::Error>,
    /// The size that the letter had when it was known to be refused.
    refused_at: Option<u64>,
    pending: Vec<u8>,
}

impl<'a> Letter<'a> {
    /// A letter with the trace lines above it.
    #[must_use]
    pub fn new(config: &'a Config, incoming: Incoming<'a>, trace: &str) -> Letter<'a> {
        let unstuffer = if config.repair_bare_lf {
            Unstuffer::repairing_lf(Ending::Lf)
        } else {
            Unstuffer::new(Ending::Lf)
        };
        Letter {
            config,
            unstuffer,
            header: HeaderFilter::new(),
            incoming: Some(incoming),
            failure: None,
            refused_at: None,
            pending: trace.as_bytes().to_vec(),
        }
    }

    /// Reads the letter to its true end, whatever is wrong with it, and delivers it. The octets
    /// behind the end stay unread.
    ///
    /// # Errors
    /// As the stream's `read`, `UnexpectedEof` when it ends before the letter, `InvalidData` when
    /// the letter has no end in sight; then nothing of the letter stays.
    pub fn receive<R: Read>(
        mut self,
        reader: &mut LineReader<R>,
        transcript: &mut Transcript,
    ) -> io::Result<Outcome> {
        let mut lines = TranscriptLines::default();
        let mut text = Vec::new();
        while !self.unstuffer.is_done() {
            let input = reader.fill_buf()?;
            if input.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let taken = self.unstuffer.feed(input, &mut text);
            lines.feed(input.get(..taken).unwrap_or_default(), transcript);
            reader.consume(taken);
            self.store(&text);
            text.clear();
            self.check_sight_of_end()?;
        }
        Ok(self.finish())
    }

    /// A letter that is stored needs no other bound than `--max-size` and the disk.
    fn check_sight_of_end(&mut self) -> io::Result<()> {
        if self.incoming.is_some() {
            return Ok(());
        }
        let octets = self.unstuffer.octets();
        let refused_at = *self.refused_at.get_or_insert(octets);
        if octets - refused_at > self.config.max_size.saturating_add(MAX_OVERRUN) {
            return Err(io::Error::new(ErrorKind::InvalidData, "a letter without an end"));
        }
        Ok(())
    }

    /// Takes in decoded text, as long as it is worth it.
    fn store(&mut self, text: &[u8]) {
        if self.incoming.is_none() {
            return;
        }
        self.header.feed(text, &mut self.pending);
        if self.verdict().is_some() {
            self.incoming = None;
        } else if self.pending.len() >= CHUNK {
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(incoming) = &mut self.incoming else { return };
        if let Err(error) = incoming.write(&self.pending) {
            self.failure = Some(error);
            self.incoming = None;
        }
        self.pending.clear();
    }

    fn finish(mut self) -> Outcome {
        self.header.finish(&mut self.pending);
        self.write();
        if let Some((reply, why)) = self.verdict() {
            return Outcome::Refused(reply, why.into());
        }
        let delivered = match (self.failure, self.incoming) {
            (Some(error), _) => Err(error),
            (None, Some(incoming)) => incoming.deliver(),
            (None, None) => Err(delivery::Error::lost()),
        };
        match delivered {
            Ok(()) => Outcome::Delivered(self.unstuffer.octets()),
            Err(error) => Outcome::Refused(error.reply(), error.to_string()),
        }
    }

    /// What speaks against the letter itself, so far.
    fn verdict(&self) -> Option<(Reply, &'static str)> {
        let bare_lf = self.unstuffer.bare_lf() && !self.config.repair_bare_lf;
        if self.unstuffer.bare_cr() || bare_lf {
            let text = "Bare CR or LF in the letter; lines end in CRLF (RFC 5321 2.3.8)";
            return Some((Reply::new(550, "5.6.11", text), "bare CR or LF"));
        }
        if self.config.max_size > 0 && self.unstuffer.octets() > self.config.max_size {
            return Some((Reply::new(552, "5.3.4", "The letter is too large"), "too large"));
        }
        if self.header.received() >= MAX_RECEIVED {
            return Some((Reply::new(554, "5.4.6", "Too many hops, mail loop"), "mail loop"));
        }
        None
    }
}

/// The letter's lines for the transcript, as they came over the wire.
#[derive(Debug, Default)]
struct TranscriptLines {
    line: Vec<u8>,
}

impl TranscriptLines {
    fn feed(&mut self, wire: &[u8], transcript: &mut Transcript) {
        if !transcript.is_on() {
            return;
        }
        for piece in wire.split_inclusive(|&b| b == b'\n') {
            let room = MAX_TRANSCRIPT_LINE.saturating_sub(self.line.len());
            let ended = piece.strip_suffix(b"\n");
            let text = ended.unwrap_or(piece);
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended.is_some() {
                transcript.client(self.line.strip_suffix(b"\r").unwrap_or(&self.line));
                self.line.clear();
            }
        }
    }
}
