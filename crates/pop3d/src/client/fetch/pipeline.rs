//! RETR and DELE, as many at once as the server takes (PIPELINING, RFC 2449 §6.6), else one after the other.
//!
//! A message's DELE is sent only after its copy is safe. Copies are made safe in batches, while further
//! messages come.

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};

use super::fetcher::Fetcher;
use super::summary::Summary;
use crate::client::connection::ServerConnection;
use crate::client::listing::Letter;
use crate::client::progress::ProgressMeter;
use crate::client::status::{Asked, Failure, Result, Status};

/// Most commands without a reply. Together they are shorter than what a socket takes unread, so that sending
/// them never waits for a server that waits for room itself.
const WINDOW: usize = 400;
/// The same where each message is handed over by itself, to a command or a server that takes its time: what is
/// on its way then waits for it.
const SLOW_WINDOW: usize = 16;
/// Most bytes of messages on their way, as LIST has their sizes, besides one message.
const WINDOW_OCTETS: u64 = 4 << 20;
/// Size of a message that LIST has none of, in bytes.
const USUAL_SIZE: u64 = 4096;
/// Most bytes of a batch.
const BATCH_OCTETS: u64 = 8 << 20;

/// A command without a reply.
enum Sent {
    Retr(Letter),
    Dele(Letter),
}

/// A message that was received and waits to be made safe.
struct Received {
    letter: Letter,
    octets: u64,
}

/// The transfer of one session.
pub(super) struct Pipeline<'p, 'f, S> {
    conn: &'p mut ServerConnection<S>,
    with: &'p mut Fetcher<'f>,
    progress: &'p ProgressMeter,
    window: usize,
    to_remove: VecDeque<Letter>,
    to_fetch: VecDeque<Letter>,
    sent: VecDeque<Sent>,
    /// Bytes of the messages among them.
    octets_sent: u64,
    batch: Vec<Received>,
    /// Why no further message can be stored.
    fatal: Option<Failure>,
    summary: Summary,
    /// The numbers of the messages that are stored.
    stored: HashSet<u64>,
}

impl<'p, 'f, S: Read + Write> Pipeline<'p, 'f, S> {
    pub(super) fn new(
        conn: &'p mut ServerConnection<S>,
        with: &'p mut Fetcher<'f>,
        (old, new): (Vec<Letter>, Vec<Letter>),
        pipelining: bool,
        progress: &'p ProgressMeter,
    ) -> Pipeline<'p, 'f, S> {
        let window = match (pipelining, with.delivery.batch()) {
            (false, _) => 1,
            (true, 1) => SLOW_WINDOW,
            (true, _) => WINDOW,
        };
        Pipeline {
            conn,
            with,
            progress,
            window,
            to_remove: old.into(),
            to_fetch: new.into(),
            sent: VecDeque::new(),
            octets_sent: 0,
            batch: Vec::new(),
            fatal: None,
            summary: Summary::default(),
            stored: HashSet::new(),
        }
    }

    /// Fetches and removes everything.
    ///
    /// # Errors
    /// The connection is lost, or no message can be stored. What was received before is stored.
    pub(super) fn run(&mut self) -> Result<()> {
        let done = self.exchange();
        let committed = self.commit();
        done.and(committed)?;
        match self.fatal.take() {
            Some(failure) => Err(failure),
            None if self.with.stop.is_wanted() => {
                Err(Failure::refusal(Status::Temporary, "stopped by a signal"))
            }
            None => Ok(()),
        }
    }

    /// Adds the counts; returns the numbers of the messages that are stored.
    pub(super) fn finish(self, summary: &mut Summary) -> HashSet<u64> {
        let Summary { stored, octets, marked, failed, first, .. } = self.summary;
        (summary.stored, summary.octets, summary.marked) = (stored, octets, marked);
        (summary.failed, summary.first) = (failed, first);
        self.stored
    }

    fn exchange(&mut self) -> Result<()> {
        loop {
            self.send()?;
            match self.sent.pop_front() {
                Some(Sent::Retr(letter)) => self.receive(letter)?,
                Some(Sent::Dele(letter)) => self.removed(&letter)?,
                None if self.batch.is_empty() => return Ok(()),
                None => {}
            }
            if self.is_batch_full() {
                self.commit()?;
            }
        }
    }

    /// Returns whether the batch has to be made safe: it is large, or no message is on its way.
    fn is_batch_full(&self) -> bool {
        let octets: u64 = self.batch.iter().map(|received| received.octets).sum();
        let is_large = self.batch.len() >= self.with.delivery.batch() || octets >= BATCH_OCTETS;
        let is_on_its_way = self.sent.iter().any(|sent| matches!(sent, Sent::Retr(_)));
        !self.batch.is_empty() && (is_large || (!is_on_its_way && self.to_fetch.is_empty()))
    }

    /// Sends what fits into the window, in one write, once half of it is free.
    fn send(&mut self) -> Result<()> {
        if self.fatal.is_some() || self.with.stop.is_wanted() {
            self.to_fetch.clear();
        }
        if self.sent.len() > self.window / 2 {
            return Ok(());
        }
        let mut commands = Vec::new();
        while self.sent.len() < self.window {
            if let Some(letter) = self.to_remove.pop_front() {
                commands.push(format!("DELE {}", letter.number));
                self.sent.push_back(Sent::Dele(letter));
                continue;
            }
            let Some(letter) = self.to_fetch.front() else { break };
            let octets = self.octets_sent.saturating_add(size(letter));
            if self.octets_sent > 0 && octets > WINDOW_OCTETS {
                break;
            }
            let Some(letter) = self.to_fetch.pop_front() else { break };
            self.octets_sent = octets;
            commands.push(format!("RETR {}", letter.number));
            self.sent.push_back(Sent::Retr(letter));
        }
        if commands.is_empty() { Ok(()) } else { self.conn.send_all(&commands) }
    }

    /// Reads the reply to a RETR. After a failure of this machine messages are read and dropped.
    fn receive(&mut self, letter: Letter) -> Result<()> {
        self.octets_sent = self.octets_sent.saturating_sub(size(&letter));
        let about = format!("RETR {}", letter.number);
        match self.conn.reply(&about, Asked::Other) {
            Ok(_) => {}
            Err(failure) if self.conn.is_broken() => return Err(failure),
            Err(failure) => {
                self.summary.fail(failure);
                return Ok(());
            }
        }
        let delivery = &mut self.with.delivery;
        let fatal = &mut self.fatal;
        let is_wanted = fatal.is_none();
        if is_wanted {
            *fatal = delivery.begin().err();
        }
        let octets = self.conn.message(&about, |piece| {
            if fatal.is_none() {
                *fatal = delivery.write(piece).err();
            }
            Ok(())
        })?;
        if self.fatal.is_none() {
            self.fatal = self.with.delivery.end().err();
        }
        match &self.fatal {
            None => self.batch.push(Received { letter, octets }),
            Some(_) => self.summary.failed += 1,
        }
        Ok(())
    }

    fn removed(&mut self, letter: &Letter) -> Result<()> {
        match self.conn.reply(&format!("DELE {}", letter.number), Asked::Other) {
            Ok(_) => self.summary.marked += 1,
            Err(failure) if self.conn.is_broken() => return Err(failure),
            Err(failure) => self.summary.fail(failure),
        }
        Ok(())
    }

    /// Makes the batch safe, records it, and has it removed where that is wanted.
    fn commit(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let removes = self.with.removes_stored();
        let Fetcher { delivery, seen, .. } = &mut *self.with;
        let recorded = delivery.sync().and_then(|names| {
            let names = batch.iter().zip(names);
            seen.storing(names.filter_map(|(it, name)| Some((it.letter.unique_id()?, name))))
        });
        let (summary, stored, to_remove) =
            (&mut self.summary, &mut self.stored, &mut self.to_remove);
        let mut told = 0;
        let committed = recorded.and_then(|()| {
            delivery.commit(&mut |number, ended| {
                told += 1;
                let Some(Received { letter, octets }) = batch.get(number) else { return Ok(()) };
                if let Err(failure) = ended {
                    summary.fail(failure);
                    return Ok(());
                }
                (summary.stored, summary.octets) = (summary.stored + 1, summary.octets + octets);
                stored.insert(letter.number);
                self.progress.advance(1);
                if let Some(id) = letter.unique_id() {
                    seen.stored(id);
                }
                if removes {
                    to_remove.push_back(letter.clone());
                }
                Ok(())
            })
        });
        // Before DELE is sent: what is removed from the server must be known to be here.
        let committed = committed.and(self.with.seen.flush());
        if let Err(failure) = committed {
            self.summary.failed += batch.len() - told;
            self.fatal.get_or_insert(failure);
        }
        Ok(())
    }
}

fn size(letter: &Letter) -> u64 {
    letter.size.unwrap_or(USUAL_SIZE)
}
