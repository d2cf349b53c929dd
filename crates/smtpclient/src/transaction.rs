//! One letter: MAIL, RCPT, DATA or BDAT (slide: the dialogue of TOPAZ and RED).

use std::io;

use netascii::dot_stuffing::Stuffer;

use crate::envelope::{Envelope, Recipient};
use crate::failure::{Delivered, Failure, Outcome, Result, Stage, code};
use crate::letter::{Facts, Letter, each_piece};
use crate::progress::Progress;
use crate::reply::Reply;
use crate::session::{Next, Session};
use crate::settings::{EightBit, Protocol};
use crate::status::Status;

/// Most commands sent in one write to a server that offers PIPELINING. Their replies must fit into
/// the socket buffers, because otherwise both sides would wait for each other (RFC 2920 §3.1).
const MAX_PIPELINED: usize = 100;
/// Largest letter in bytes that goes in one write with its envelope, by BDAT: what is sent for nothing where every
/// recipient is refused.
const MAX_CHUNK: u64 = 64 * 1024;
/// Largest letter in bytes whose text is shown.
const MAX_SHOWN: u64 = 4096;
/// Bytes of the text that are sent by one write.
const BLOCK: usize = 64 * 1024;

impl Session {
    /// Sends a letter to these recipients. Returns for each of them, in their order, what has become of it.
    ///
    /// Another letter may follow while [`Session::is_usable`]. A failure that has come before the text was sent with its
    /// end leaves the server without the letter ([`Failure::may_have_letter`]).
    pub fn send(&mut self, envelope: &Envelope<'_>, letter: &mut dyn Letter) -> Vec<Outcome> {
        let mut progress = Progress::new(envelope);
        match self.transact(&mut progress, letter) {
            Ok(()) => progress.outcomes(None),
            Err(failure) => progress.outcomes(Some(&failure)),
        }
    }

    /// Asks whether the server takes mail for a recipient: MAIL, RCPT, and RSET. Returns its reply to RCPT, or to MAIL
    /// where that is a refusal.
    ///
    /// # Errors
    /// The connection fails.
    pub fn verify(&mut self, address: &[u8]) -> Result<Reply> {
        self.reset()?;
        self.next = Next::Reset;
        let mut reply = self.ask(b"MAIL FROM:<>", Stage::Mail)?;
        if reply.is_success() {
            let recipient = Recipient { address, ..Recipient::default() };
            reply = self.ask(&recipient.rcpt(&self.extensions, true), Stage::Recipient)?;
        }
        if !self.conn.is_lost {
            self.reset()?;
        }
        Ok(reply)
    }

    fn transact(&mut self, progress: &mut Progress<'_>, letter: &mut dyn Letter) -> Result<()> {
        let facts = letter.facts();
        self.check_limits(progress.envelope, facts)?;
        self.refuse_utf8(progress);
        if progress.asked.is_empty() {
            return Ok(());
        }
        self.reset()?;
        let commands = progress.commands(self, facts);
        self.next = Next::Reset;
        if self.goes_in_one(&commands, facts) {
            return self.in_one(progress, commands, letter);
        }
        self.envelope(progress, &commands)?;
        if progress.taken.is_empty() { Ok(()) } else { self.data(progress, letter) }
    }

    /// Gives the last letter up (RSET), where that was left to be done.
    fn reset(&mut self) -> Result<()> {
        if self.next == Next::Quit {
            let why = "the server has answered what was not asked";
            return Err(self.conn.failure(Stage::Mail, Status::Protocol, code(4, 5, 0), why));
        }
        if self.next == Next::Reset {
            let reply = self.ask(b"RSET", Stage::Mail)?;
            if !reply.is_success() {
                self.next = Next::Quit;
                return Err(self.conn.refused(Stage::Mail, "RSET", &reply));
            }
            self.next = Next::Mail;
        }
        Ok(())
    }

    /// Refuses a letter that the server's limits exclude.
    fn check_limits(&self, envelope: &Envelope<'_>, facts: Facts) -> Result<()> {
        let refused =
            |code, why: &str| Err(self.conn.failure(Stage::Mail, Status::Data, code, why));
        if let Some((octets, limit)) = self.extensions.limit_under(facts.octets) {
            let why = format!("the letter has {octets} octets, the server takes {limit} at most");
            return refused(code(5, 3, 4), &why);
        }
        if self.settings.eight_bit == EightBit::Send {
            return Ok(());
        }
        if envelope.needs_utf8(facts) && !self.extensions.utf8 {
            let why = "the sender or the header is UTF-8 and the server does not offer SMTPUTF8";
            return refused(code(5, 6, 7), why);
        }
        if facts.eight_bit && !self.extensions.eight_bit {
            let why = "the letter has octets over 127 and the server does not offer 8BITMIME";
            return refused(code(5, 6, 3), why);
        }
        Ok(())
    }

    /// Refuses recipients in UTF-8 for a server that does not know them (RFC 6531 §3.5).
    fn refuse_utf8(&self, progress: &mut Progress<'_>) {
        let all = progress.envelope.to.iter().zip(&mut progress.outcomes).enumerate();
        let takes_all = self.extensions.utf8 || self.settings.eight_bit == EightBit::Send;
        for (number, (recipient, outcome)) in all {
            if recipient.needs_utf8() && !takes_all {
                let what = recipient_name(recipient);
                let why = format!("{what}: it is UTF-8 and the server does not offer SMTPUTF8");
                let code = code(5, 6, 7);
                let failure = self.conn.failure(Stage::Recipient, Status::Data, code, &why);
                *outcome = Some(Err(failure));
            } else {
                progress.asked.push(number);
            }
        }
    }

    /// Sends MAIL and all RCPT, in groups where the server offers PIPELINING.
    fn envelope(&mut self, progress: &mut Progress<'_>, commands: &[Vec<u8>]) -> Result<()> {
        let size = if self.extensions.pipelining { MAX_PIPELINED } else { 1 };
        let mut numbered = commands.iter().enumerate();
        for group in commands.chunks(size) {
            self.send_lines(group, &[])?;
            // All replies of a group are read, also after a refused MAIL.
            let mut sender = Ok(());
            for (number, command) in numbered.by_ref().take(group.len()) {
                let answered = self.envelope_reply(progress, number, command)?;
                sender = sender.and(answered);
            }
            sender?;
        }
        Ok(())
    }

    /// Sends command lines in one write, with the bytes after them.
    fn send_lines(&mut self, lines: &[Vec<u8>], behind: &[u8]) -> Result<()> {
        let first = lines.first().map(Vec::as_slice).unwrap_or_default();
        let stage = if first.starts_with(b"RCPT") { Stage::Recipient } else { Stage::Mail };
        self.nothing_unread(stage)?;
        let mut bytes = Vec::new();
        for line in lines {
            self.settings.show('C', line);
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(behind);
        let limits = self.settings.timeouts;
        let (what, limit) = match behind {
            [] => (forknet::printable(first), limits.command),
            _ => ("the letter".to_owned(), limits.block),
        };
        self.conn.send(&bytes, (stage, &what), limit)
    }

    /// Reads the reply to MAIL (number 0) or RCPT. The inner error is a refusal of MAIL.
    fn envelope_reply(
        &mut self,
        progress: &mut Progress<'_>,
        number: usize,
        command: &[u8],
    ) -> Result<Result<()>> {
        let stage = if number == 0 { Stage::Mail } else { Stage::Recipient };
        let limit = self.settings.timeouts.command;
        let what = format!("the reply to {}", forknet::printable(command));
        let reply = self.conn.reply((stage, &what), limit)?;
        if reply.is_closing() {
            return Err(self.conn.refused(stage, "the server hangs up", &reply));
        }
        if reply.is_intermediate() {
            self.next = Next::Quit;
        }
        let Some(before) = number.checked_sub(1) else {
            let what = format!("sender <{}>", forknet::printable(progress.envelope.from));
            progress.is_refused = !reply.is_success();
            let refused = |session: &Session| session.conn.refused(stage, &what, &reply);
            return Ok(if progress.is_refused { Err(refused(self)) } else { Ok(()) });
        };
        let number = progress.asked.get(before).copied().filter(|_| !progress.is_refused);
        let Some(number) = number else { return Ok(Ok(())) };
        if reply.is_success() {
            progress.taken.push(number);
        } else if let Some(recipient) = progress.envelope.to.get(number) {
            let failure = self.conn.refused(stage, &recipient_name(recipient), &reply);
            progress.set(number, Err(failure));
        }
        Ok(Ok(()))
    }

    /// Sends DATA and the letter. Only a 2yz after its end means that the server has taken it.
    fn data(&mut self, progress: &mut Progress<'_>, letter: &mut dyn Letter) -> Result<()> {
        self.nothing_unread(Stage::Data)?;
        let limits = self.settings.timeouts;
        self.settings.show('C', b"DATA");
        self.conn.send(b"DATA\r\n", (Stage::Data, "DATA"), limits.command)?;
        let go_ahead = self.conn.reply((Stage::Data, "the reply to DATA"), limits.data)?;
        if go_ahead.code() != 354 {
            if go_ahead.is_success() || go_ahead.is_intermediate() {
                self.next = Next::Quit;
            }
            return Err(self.conn.refused(Stage::Data, "DATA", &go_ahead));
        }
        self.nothing_unread(Stage::Data)?;
        self.transmit(letter)?;
        self.end_replies(progress)
    }

    /// Sends the text, with line ends of CRLF, dots stuffed, and the final dot.
    fn transmit(&mut self, letter: &mut dyn Letter) -> Result<()> {
        let is_shown = self.shows(letter.facts());
        let (mut stuffer, mut out) = (Stuffer::bare_cr_to_crlf(), Vec::new());
        let read = letter.reader().map_err(TextError::Read).and_then(|mut text| {
            each_piece(&mut *text, |piece| {
                stuffer.feed(piece, &mut out);
                // A text that is shown is sent below in one piece, with its end.
                if is_shown || out.len() < BLOCK {
                    return Ok(());
                }
                self.send_text(&out)?;
                out.clear();
                Ok(())
            })
        });
        match read {
            Ok(()) => {}
            Err(TextError::Sent(failure)) => return Err(failure),
            Err(TextError::Read(error)) => return Err(self.unreadable(&error)),
        }
        stuffer.finish(&mut out);
        if is_shown {
            self.show_text(&out);
        }
        self.send_text(&out)
    }

    fn send_text(&mut self, bytes: &[u8]) -> Result<()> {
        let limit = self.settings.timeouts.block;
        self.conn.send(bytes, (Stage::Text, "the letter"), limit)
    }

    /// Gives the connection up, so that the server has half a letter and no end.
    fn unreadable(&mut self, error: &io::Error) -> Failure {
        self.conn.is_lost = true;
        Failure::unreadable(Stage::Text, error)
    }

    /// Returns whether the text is shown. A longer one is mentioned.
    fn shows(&self, facts: Facts) -> bool {
        let octets = facts.octets.unwrap_or(u64::MAX);
        if octets > MAX_SHOWN {
            let size = facts.octets.map_or(String::new(), |octets| format!(" of {octets} octets"));
            self.settings.show('C', format!("[a letter{size}]").as_bytes());
        }
        self.settings.show.is_some() && octets <= MAX_SHOWN
    }

    fn show_text(&self, text: &[u8]) {
        for line in text.split_inclusive(|&b| b == b'\n') {
            self.settings.show('C', line.strip_suffix(b"\r\n").unwrap_or(line));
        }
    }

    /// Reads what the server says to the letter: one reply, or under LMTP one for each recipient that it has taken.
    fn end_replies(&mut self, progress: &mut Progress<'_>) -> Result<()> {
        let taken = std::mem::take(&mut progress.taken);
        let mut all_taken = true;
        if self.settings.protocol == Protocol::Smtp {
            let outcome = self.end_reply("the letter was refused")?;
            all_taken = outcome.is_ok();
            taken.iter().for_each(|number| progress.set(*number, outcome.clone()));
        } else {
            for number in taken {
                let recipient = progress.envelope.to.get(number).copied().unwrap_or_default();
                let outcome = self.end_reply(&recipient_name(&recipient))?;
                all_taken &= outcome.is_ok();
                progress.set(number, outcome);
            }
        }
        if all_taken && self.next == Next::Reset {
            self.next = Next::Mail;
        }
        Ok(())
    }

    /// Reads a reply to the letter. After an error it is not known whether the server has it.
    fn end_reply(&mut self, what: &str) -> Result<Outcome> {
        let limit = self.settings.timeouts.end;
        let reply = self.conn.reply((Stage::End, "the reply to the letter"), limit);
        let reply = reply.map_err(unknown)?;
        if !reply.is_success() {
            if reply.is_intermediate() {
                self.next = Next::Quit;
            }
            return Ok(Err(self.conn.refused(Stage::End, what, &reply)));
        }
        let (host, tls) = (self.conn.host.clone(), self.tls.clone());
        Ok(Ok(Delivered { reply, host, offers_dsn: self.extensions.dsn, tls }))
    }

    /// Returns whether a letter goes in one write with its envelope.
    fn goes_in_one(&self, commands: &[Vec<u8>], facts: Facts) -> bool {
        let offered = self.extensions.chunking && self.extensions.pipelining;
        let is_short = facts.octets.is_some_and(|octets| octets <= MAX_CHUNK);
        self.settings.use_chunking && offered && is_short && commands.len() < MAX_PIPELINED
    }

    /// Sends MAIL, RCPT, BDAT and the text in one write (RFC 3030, RFC 2920), and reads all replies.
    fn in_one(
        &mut self,
        progress: &mut Progress<'_>,
        mut commands: Vec<Vec<u8>>,
        letter: &mut dyn Letter,
    ) -> Result<()> {
        let text = match whole(letter) {
            Ok(text) => text,
            Err(error) => {
                return Err(Failure { is_lost: false, ..Failure::unreadable(Stage::Mail, &error) });
            }
        };
        commands.push(format!("BDAT {} LAST", text.len()).into_bytes());
        self.send_lines(&commands, &text)?;
        if self.shows(letter.facts()) {
            self.show_text(&text);
        }
        commands.pop();
        // From here on the server may have the letter, whichever reply is missing.
        let mut sender = Ok(());
        for (number, command) in commands.iter().enumerate() {
            let answered = self.envelope_reply(progress, number, command);
            let answered = answered.map_err(|failure| match failure.reply {
                Some(_) => failure,
                None => unknown(Failure { stage: Stage::End, ..failure }),
            })?;
            sender = sender.and(answered);
        }
        if sender.is_ok() && !progress.taken.is_empty() {
            self.end_replies(progress)?;
            progress.outcomes.iter_mut().flatten().for_each(|outcome| self.judge_chunk(outcome));
            return Ok(());
        }
        // One reply, a refusal: no recipient is left.
        let limit = self.settings.timeouts.end;
        let _ = self.conn.reply((Stage::Text, "the reply to BDAT"), limit); // decides nothing
        sender
    }

    /// Finds out whether it was BDAT that was refused, and not the letter: that one can go by DATA then. Of this connection
    /// nothing more is expected, because the server may have taken the text for commands.
    fn judge_chunk(&mut self, outcome: &mut Outcome) {
        let Err(failure) = outcome else { return };
        let code = failure.reply.as_ref().map_or(0, Reply::code);
        if failure.stage == Stage::End && matches!(code, 500 | 502 | 503) {
            (self.refuses_chunks, self.conn.is_lost) = (true, true);
            (failure.stage, failure.is_lost, failure.code.class) = (Stage::Data, true, 4);
        }
    }

    /// Fails where the server has said something that it was not asked: later replies would be taken for others.
    fn nothing_unread(&mut self, stage: Stage) -> Result<()> {
        if !self.conn.has_unread() {
            return Ok(());
        }
        self.conn.is_lost = true;
        let why = "the server answers what was not asked";
        let failure = self.conn.failure(stage, Status::Protocol, code(4, 5, 0), why);
        Err(failure.and_lost())
    }
}

/// Says that the server may have the letter.
fn unknown(failure: Failure) -> Failure {
    let why = "no reply to the letter, it may or may not have been delivered";
    Failure { text: format!("{}: {why}", failure.text), ..failure }
}

/// Returns a whole text as BDAT has it: line ends of CRLF, no dots.
fn whole(letter: &mut dyn Letter) -> io::Result<Vec<u8>> {
    let (mut encoder, mut out) = (Stuffer::without_dots(), Vec::new());
    each_piece(&mut *letter.reader()?, |piece| {
        encoder.feed(piece, &mut out);
        Ok::<(), io::Error>(())
    })?;
    encoder.finish(&mut out);
    Ok(out)
}

/// Why a text was not sent to its end.
enum TextError {
    Read(io::Error),
    Sent(Failure),
}

impl From<io::Error> for TextError {
    fn from(error: io::Error) -> TextError {
        TextError::Read(error)
    }
}

impl From<Failure> for TextError {
    fn from(failure: Failure) -> TextError {
        TextError::Sent(failure)
    }
}

fn recipient_name(recipient: &Recipient<'_>) -> String {
    format!("recipient <{}>", forknet::printable(recipient.address))
}
