//! Receives a letter, from the reply 354 to its end or in chunks of BDAT. The memory used does not grow with the
//! letter.

use std::io::{self, BufRead, ErrorKind, Read};
use std::time::{Duration, Instant};

use netascii::crlf::CrlfDecoder;
use netascii::dot_stuffing::{LineEnding, Unstuffer};
use netascii::line::LineReader;

use crate::header::filter::HeaderFilter;
use crate::options::Config;
use crate::protocol::lookup::{Delivered, Delivery, Refusal};
use crate::protocol::reply::Reply;

/// Number of `Received:` fields that indicates a mail loop (RFC 5321 §6.3).
const MAX_RECEIVED: usize = 100;
/// After a refusal the rest of the letter is read, but no more than `--max-size` plus this, in
/// bytes.
const MAX_OVERRUN: u64 = 64 << 20;
/// Bytes of the letter that this process holds.
const CHUNK: usize = 64 * 1024;

/// What has become of a letter that was read to its end.
#[derive(Debug)]
pub struct Received {
    /// Its size in octets (RFC 1870 §3).
    pub octets: u64,
    /// The answer for each recipient, in the order of the envelope, and where copies are.
    pub delivered: Delivered,
    /// Time from the end of the text to these answers: what it took to make the letter safe.
    pub took: Duration,
}

impl Received {
    /// Returns whether all recipients have the letter.
    ///
    /// # Errors
    /// The first refusal, a temporary one if there is one, because the letter comes again then: there is one reply for all
    /// (RFC 5321 §4.2.5).
    pub fn for_all(&self) -> Result<(), &Refusal> {
        let refusals = || self.delivered.answers.iter().filter_map(|answer| answer.as_ref().err());
        let temporary = refusals().find(|refusal| refusal.reply.code() < 500);
        temporary.or_else(|| refusals().next()).map_or(Ok(()), Err)
    }
}

/// How the text comes.
enum Decoder {
    /// After DATA: it ends with a line of a dot.
    Dotted(Unstuffer),
    /// In chunks of BDAT, whose lengths are known (RFC 3030).
    Counted(CrlfDecoder),
}

impl Decoder {
    fn octets(&self) -> u64 {
        match self {
            Decoder::Dotted(decoder) => decoder.octets(),
            Decoder::Counted(decoder) => decoder.octets(),
        }
    }

    fn bare_cr(&self) -> bool {
        match self {
            Decoder::Dotted(decoder) => decoder.bare_cr(),
            Decoder::Counted(decoder) => decoder.bare_cr(),
        }
    }

    fn bare_lf(&self) -> bool {
        match self {
            Decoder::Dotted(decoder) => decoder.bare_lf(),
            Decoder::Counted(decoder) => decoder.bare_lf(),
        }
    }
}

/// Receives one letter.
pub struct LetterReceiver<'a> {
    config: &'a Config,
    decoder: Decoder,
    header: HeaderFilter,
    /// `None` once the letter is to be refused. The rest is read nevertheless.
    delivery: Option<Box<dyn Delivery + 'a>>,
    recipients: usize,
    failure: Option<Refusal>,
    /// The size received when the refusal was decided, in octets (RFC 1870 §3).
    refused_at: Option<u64>,
    pending: Vec<u8>,
}

impl<'a> LetterReceiver<'a> {
    /// Creates a receiver of a letter after DATA for this number of recipients, and writes the letter's trace
    /// lines.
    #[must_use]
    pub fn new(
        config: &'a Config,
        delivery: (Box<dyn Delivery + 'a>, usize),
        head: (String, HeaderFilter),
    ) -> LetterReceiver<'a> {
        let unstuffer = if config.repair_bare_lf {
            Unstuffer::accepting_bare_lf(LineEnding::Lf)
        } else {
            Unstuffer::new(LineEnding::Lf)
        };
        LetterReceiver::with(Decoder::Dotted(unstuffer), config, delivery, head)
    }

    /// Creates a receiver of a letter in chunks.
    #[must_use]
    pub fn in_chunks(
        config: &'a Config,
        delivery: (Box<dyn Delivery + 'a>, usize),
        head: (String, HeaderFilter),
    ) -> LetterReceiver<'a> {
        let decoder = Decoder::Counted(CrlfDecoder::default());
        LetterReceiver::with(decoder, config, delivery, head)
    }

    fn with(
        decoder: Decoder,
        config: &'a Config,
        (delivery, recipients): (Box<dyn Delivery + 'a>, usize),
        (trace, header): (String, HeaderFilter),
    ) -> LetterReceiver<'a> {
        LetterReceiver {
            config,
            decoder,
            header,
            delivery: Some(delivery),
            recipients,
            failure: None,
            refused_at: None,
            pending: trace.into_bytes(),
        }
    }

    /// Reads the letter after DATA to its end, even if it is refused, and delivers it. The bytes after the end
    /// stay unread. Calls `seen` with every piece as read.
    ///
    /// # Errors
    /// Errors of the stream's `read`. `UnexpectedEof` if the stream ends before the letter,
    /// `InvalidData` if a refused letter exceeds the limit. Nothing of the letter is kept then.
    pub fn receive<R: Read>(
        mut self,
        reader: &mut LineReader<R>,
        mut seen: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        let mut text = Vec::new();
        while let Decoder::Dotted(unstuffer) = &mut self.decoder
            && !unstuffer.is_done()
        {
            let input = reader.fill_buf()?;
            if input.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let taken = unstuffer.feed(input, &mut text);
            seen(input.get(..taken).unwrap_or_default());
            reader.consume(taken);
            self.store(&text);
            text.clear();
            self.check_overrun()?;
        }
        Ok(self.finish())
    }

    /// Reads a chunk of this length in bytes, even if the letter is refused. Calls `seen` with every piece as read.
    ///
    /// # Errors
    /// As [`LetterReceiver::receive`].
    pub fn receive_chunk<R: Read>(
        &mut self,
        reader: &mut LineReader<R>,
        octets: u64,
        mut seen: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let (mut left, mut text) = (octets, Vec::new());
        while left > 0 {
            let input = next_octets(reader, left)?;
            if let Decoder::Counted(decoder) = &mut self.decoder {
                decoder.feed(input, &mut text);
            }
            seen(input);
            let taken = input.len();
            reader.consume(taken);
            left -= taken as u64;
            self.store(&text);
            text.clear();
            self.check_overrun()?;
        }
        Ok(())
    }

    /// Returns why the letter is refused that was received so far.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.defect().or_else(|| self.failure.clone())
    }

    /// Fails if a refused letter exceeds the limit. A letter being stored is bounded by
    /// `--max-size` and the disk.
    fn check_overrun(&mut self) -> io::Result<()> {
        if self.delivery.is_some() {
            return Ok(());
        }
        let octets = self.decoder.octets();
        let refused_at = *self.refused_at.get_or_insert(octets);
        if octets - refused_at > self.config.max_size.saturating_add(MAX_OVERRUN) {
            return Err(io::Error::new(ErrorKind::InvalidData, "a letter without an end"));
        }
        Ok(())
    }

    /// Stores decoded text, unless the letter is refused.
    fn store(&mut self, text: &[u8]) {
        if self.delivery.is_none() {
            return;
        }
        self.header.feed(text, &mut self.pending);
        if self.defect().is_some() {
            self.delivery = None;
        } else if self.pending.len() >= CHUNK {
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        if let Err(refusal) = delivery.write(&self.pending) {
            self.failure = Some(refusal);
            self.delivery = None;
        }
        self.pending.clear();
    }

    /// Delivers the letter, which is complete.
    #[must_use]
    pub fn finish(mut self) -> Received {
        if let Decoder::Counted(decoder) = &mut self.decoder {
            let mut text = Vec::new();
            decoder.finish(&mut text);
            self.store(&text);
        }
        self.header.finish(&mut self.pending);
        self.write();
        let (octets, since) = (self.decoder.octets(), Instant::now());
        let refused = self.defect().or(self.failure);
        let delivered = match (refused, self.delivery) {
            (None, Some(delivery)) => delivery.finish(),
            (refused, _) => {
                let refusal = refused.unwrap_or_else(|| {
                    let text = "The letter could not be stored, try again later";
                    let reply = Reply::new(451, "4.3.0", text);
                    Refusal { reply, reason: "no delivery".into() }
                });
                Delivered::to_none(self.recipients, refusal)
            }
        };
        Received { octets, delivered, took: since.elapsed() }
    }

    /// Returns why the content received so far is refused.
    fn defect(&self) -> Option<Refusal> {
        let refusal = |code, status, text, reason: &str| {
            Some(Refusal { reply: Reply::new(code, status, text), reason: reason.into() })
        };
        let bare_lf = self.decoder.bare_lf() && !self.config.repair_bare_lf;
        if self.decoder.bare_cr() || bare_lf {
            let text = "Bare CR or LF in the letter; lines end in CRLF (RFC 5321 2.3.8)";
            return refusal(550, "5.6.11", text, "bare CR or LF");
        }
        if self.config.max_size > 0 && self.decoder.octets() > self.config.max_size {
            return refusal(552, "5.3.4", "The letter is too large", "too large");
        }
        if self.header.received() >= MAX_RECEIVED {
            return refusal(554, "5.4.6", "Too many hops, mail loop", "mail loop");
        }
        None
    }
}

/// Reads and drops the bytes of a chunk for which there is no letter.
///
/// # Errors
/// Errors of the stream's `read`. `UnexpectedEof` if the stream ends before, `InvalidData` for more than `--max-size`
/// and 64 MiB.
pub fn skip_chunk<R: Read>(
    config: &Config,
    reader: &mut LineReader<R>,
    octets: u64,
) -> io::Result<()> {
    if octets > config.max_size.saturating_add(MAX_OVERRUN) {
        return Err(io::Error::new(ErrorKind::InvalidData, "a chunk without an end"));
    }
    let mut left = octets;
    while left > 0 {
        let taken = next_octets(reader, left)?.len();
        reader.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// Returns the next bytes that have come, up to `most`.
fn next_octets<R: Read>(reader: &mut LineReader<R>, most: u64) -> io::Result<&[u8]> {
    let input = reader.fill_buf()?;
    if input.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    Ok(input.get(..most).unwrap_or_default())
}
