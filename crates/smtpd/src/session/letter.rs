//! The letter: its text after DATA or in chunks of BDAT, the reply or replies, and its line of the log.

use std::io::{self, Read, Write};
use std::rc::Rc;

use jiff::Timestamp;

use crate::delivery::author::OwnAuthor;
use crate::delivery::delivered_to::Checked;
use crate::delivery::header::header_filter;
use crate::delivery::letter::{LetterReceiver, Received, skip_chunk};
use crate::delivery::trace;
use crate::header::filter::HeaderFilter;
use crate::protocol::envelope::Envelope;
use crate::protocol::lookup::{Commit, Delivery, Refusal};
use crate::protocol::outcome::Chunk;
use crate::protocol::reply::Reply;
use crate::session::letter_lines::LetterLines;
use crate::session::partial::partial_reply;
use crate::session::{Session, flush, log_fields, queue};

/// A delivery that has begun, the number of its recipients, the letter's trace lines, and the filter for its header.
type Begun<'a> = ((Box<dyn Delivery + 'a>, usize), (String, HeaderFilter));

impl<'a, S: Read + Write> Session<'a, '_, S> {
    /// Sends 354, receives the letter, and sends the reply.
    pub(super) fn letter(&mut self) -> io::Result<()> {
        let (id, (delivery, head)) = self.begin_letter();
        let receiver = LetterReceiver::new(self.config, delivery, head);
        self.queue(&Reply::plain(354, "Send the letter; end with <CRLF>.<CRLF>"));
        self.flush()?;
        let mut lines = LetterLines::default();
        let seen = |piece: &[u8]| lines.feed(piece, self.transcript);
        let received = receiver.receive(&mut self.reader, seen);
        let received = received.inspect_err(|error| self.log_broken(&id, error))?;
        self.end_letter(&id, &received)
    }

    /// Receives a chunk, and sends the reply; after the last one that to the letter.
    pub(super) fn chunk(&mut self, chunk: Chunk) -> io::Result<()> {
        let (id, mut receiver) = match self.chunks.take() {
            Some(chunks) => chunks,
            None => {
                let (id, (delivery, head)) = self.begin_letter();
                (id, LetterReceiver::in_chunks(self.config, delivery, head))
            }
        };
        self.flush_before(chunk.octets)?;
        let mut lines = LetterLines::default();
        let seen = |piece: &[u8]| lines.feed(piece, self.transcript);
        let received = receiver.receive_chunk(&mut self.reader, chunk.octets, seen);
        received.inspect_err(|error| self.log_broken(&id, error))?;
        lines.end(self.transcript);
        if chunk.is_last {
            let received = receiver.finish();
            return self.end_letter(&id, &received);
        }
        let reply = match receiver.refusal() {
            Some(refusal) => refusal.reply,
            None => Reply::new(250, "2.0.0", format!("{} octets received", chunk.octets)),
        };
        self.queue(&reply);
        self.chunks = Some((id, receiver));
        Ok(())
    }

    /// Reads and drops the bytes of a chunk that was refused.
    pub(super) fn skip_chunk(&mut self, chunk: Chunk) -> io::Result<()> {
        self.flush_before(chunk.octets)?;
        skip_chunk(self.config, &mut self.reader, chunk.octets)
    }

    /// Sends the replies so far, if the client may wait for them before it sends all bytes of a chunk.
    fn flush_before(&mut self, octets: u64) -> io::Result<()> {
        if (self.reader.buffered().len() as u64) < octets { self.flush() } else { Ok(()) }
    }

    /// Begins a delivery; returns the letter's id with it.
    fn begin_letter(&self) -> (String, Begun<'a>) {
        let now = Timestamp::now().to_zoned(self.config.zone.clone());
        let id = trace::new_id(&now);
        let (client, hello) = (self.protocol.client(), self.protocol.hello());
        let envelope = self.protocol.envelope();
        let commit = if self.config.lmtp { Commit::Each } else { Commit::All };
        let delivery = self.mailboxes.letter(&id, Rc::clone(envelope), commit);
        let trace = trace::received(&self.config.hostname, client, hello, envelope, &id, &now);
        let header = header_filter(self.config, client, envelope, (&id, &now));
        let recipients = envelope.recipients.len();
        let delivery = self.protocol.policy().filtered(delivery, &id, (trace.len(), recipients));
        let delivery = match self.config.is_submission {
            true => Box::new(OwnAuthor::new(delivery, self.mailboxes, recipients)),
            false => delivery,
        };
        let checked = Checked::new(delivery, Rc::clone(envelope));
        (id, ((Box::new(checked), recipients), (trace, header)))
    }

    /// Logs what has become of a letter, ends the transaction, and sends the reply, or one for each accepted RCPT
    /// (RFC 2033 §4.2).
    fn end_letter(&mut self, id: &str, received: &Received) -> io::Result<()> {
        let envelope = Rc::clone(self.protocol.envelope());
        self.log_letter(id, &envelope, received);
        let delivered = || Reply::new(250, "2.0.0", format!("Delivered, id {id}"));
        let replies: Vec<Reply> = if self.config.lmtp {
            let answers =
                envelope.accepted.iter().map(|&index| received.delivered.answers.get(index));
            let reply = |answer: Option<&Result<(), Refusal>>| match answer {
                Some(Ok(())) => delivered(),
                Some(Err(refusal)) => refusal.reply.clone(),
                None => Reply::new(451, "4.3.0", "The letter could not be stored, try again later"),
            };
            answers.map(reply).collect()
        } else {
            vec![received.for_all().map_or_else(
                |refusal| partial_reply(&envelope, received, &refusal.reply),
                |()| delivered(),
            )]
        };
        self.protocol.letter_done(replies.iter().any(Reply::is_positive));
        self.show_state();
        replies.iter().for_each(|reply| queue(&mut self.out, self.transcript, reply));
        // Flushes at once, because a client that misses this reply sends the letter again (RFC
        // 1047).
        flush(&mut self.out, &mut self.reader)?;
        self.notify(&envelope, received);
        Ok(())
    }

    /// Logs what has become of a letter, in one line for those who have it and one for each reason why others do not.
    fn log_letter(&self, id: &str, envelope: &Envelope, received: &Received) {
        let (client, named) = (self.client(), (id, &envelope.sender[..]));
        let hello = self.protocol.hello();
        let (mut having, mut refused): (Vec<_>, Vec<(&Refusal, Vec<_>)>) = (Vec::new(), Vec::new());
        for (recipient, answer) in envelope.recipients.iter().zip(&received.delivered.answers) {
            let Err(refusal) = answer else {
                having.push(recipient);
                continue;
            };
            match refused.iter_mut().find(|(known, _)| known.reason == refusal.reason) {
                Some((_, recipients)) => recipients.push(recipient),
                None => refused.push((refusal, vec![recipient])),
            }
        }
        if !having.is_empty() {
            log::info!(
                "{client}: delivered {}",
                log_fields::letter(named, &having, hello, received, true)
            );
        }
        for (Refusal { reply, reason }, to) in refused {
            let level = if reply.code() < 500 { log::Level::Error } else { log::Level::Info };
            let (fields, text) = (
                log_fields::letter(named, &to, hello, received, false),
                reply.lines().collect::<String>(),
            );
            log::log!(level, "{client}: letter refused {fields}: {reason}: {text}");
        }
    }

    fn log_broken(&self, id: &str, error: &io::Error) {
        log::info!("{}: letter {id} broke off: {}", self.client(), forknet::reason(error));
    }
}
