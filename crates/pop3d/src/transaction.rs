//! The TRANSACTION state (RFC 1939 §5, §7) and the UPDATE state that ends it (§6).

use std::fs::File;
use std::io;

use log::{info, warn};
use mailstore::Maildrop;

use crate::command::{Args, Entry, Shape, number};
use crate::protocol::Outcome;
use crate::reply::{Code, Reply, err, err_code, messages, ok};

/// The commands of this state.
pub const TABLE: &[Entry<Transaction>] = &[
    Entry { keyword: "STAT", shape: Shape::None, run: |state, _| state.stat() },
    Entry { keyword: "LIST", shape: Shape::Optional, run: |s, args| s.list(args, Column::Size) },
    Entry { keyword: "RETR", shape: Shape::One, run: Transaction::retr },
    Entry { keyword: "DELE", shape: Shape::One, run: Transaction::dele },
    Entry { keyword: "NOOP", shape: Shape::None, run: |_, _| Outcome::Say(ok("nothing done")) },
    Entry { keyword: "RSET", shape: Shape::None, run: |state, _| state.rset() },
    Entry { keyword: "TOP", shape: Shape::Two, run: Transaction::top },
    Entry { keyword: "UIDL", shape: Shape::Optional, run: |s, args| s.list(args, Column::Uid) },
    Entry { keyword: "CAPA", shape: Shape::None, run: |_, _| Outcome::Capabilities },
    Entry { keyword: "QUIT", shape: Shape::None, run: |_, _| Outcome::Quit },
];

/// The commands that the other state does not know.
pub const KEYWORDS: &[&str] = &["STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL"];

/// What a listing tells of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Its size in octets (LIST).
    Size,
    /// Its unique id (UIDL).
    Uid,
}

/// A message on its way to the client.
pub struct Message {
    /// Which one it is, from 0.
    pub index: usize,
    /// Where it is read from, as it lies on disk.
    pub file: File,
    /// The lines of its body that TOP asked for; none for the whole message.
    pub lines: Option<u64>,
}

/// A session with a locked maildrop.
pub struct Transaction {
    user: String,
    maildrop: Maildrop,
    deleted: Vec<bool>,
    retrieved: u64,
    octets: u64,
}

impl Transaction {
    /// A session in which nothing is marked yet. `user` is a name fit for a log.
    #[must_use]
    pub fn new(user: String, maildrop: Maildrop) -> Transaction {
        let deleted = vec![false; maildrop.len()];
        Transaction { user, maildrop, deleted, retrieved: 0, octets: 0 }
    }

    /// Whose maildrop it is.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `2 messages (320 octets)`; without the octets where they would have to be counted first.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut sizes = self.present().map(|index| self.maildrop.known_size(index));
        let count = messages(self.present().count());
        let sum = |sum: u64, size: Option<u64>| Some(sum.saturating_add(size?));
        match sizes.try_fold(0, sum) {
            Some(octets) => format!("{count} ({octets} octets)"),
            None => count,
        }
    }

    /// The messages that are not marked.
    fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.deleted.iter().enumerate().filter(|(_, deleted)| !**deleted).map(|(index, _)| index)
    }

    /// The size of a message; 0 where it cannot be told because it cannot be read.
    fn size(&mut self, index: usize) -> u64 {
        self.maildrop.size(index).unwrap_or_else(|error| {
            warn!("{}: message {}: {error}", self.user, index + 1);
            0
        })
    }

    fn total(&mut self) -> (usize, u64) {
        let indices: Vec<usize> = self.present().collect();
        // Names may lie, so the sum may be anything.
        let octets = indices.iter().map(|&index| self.size(index)).fold(0, u64::saturating_add);
        (indices.len(), octets)
    }

    fn stat(&mut self) -> Outcome {
        let (count, octets) = self.total();
        Outcome::Say(ok(format_args!("{count} {octets}")))
    }

    fn list(&mut self, args: Args<'_>, column: Column) -> Outcome {
        let Some(word) = args.first else {
            return match column {
                Column::Size => {
                    let (count, octets) = self.total();
                    let count = messages(count);
                    Outcome::Listing(ok(format_args!("{count} ({octets} octets)")), column)
                }
                Column::Uid => Outcome::Listing(ok("unique-id listing follows"), column),
            };
        };
        match self.message(word) {
            Ok(index) => {
                let mut reply = b"+OK ".to_vec();
                self.row(index, column, &mut reply);
                Outcome::Say(reply)
            }
            Err(refusal) => Outcome::Say(refusal),
        }
    }

    /// Hands the rows of a listing to `each`; a row is `number size` or `number id` and CRLF.
    ///
    /// # Errors
    /// What `each` says.
    pub fn listing(
        &mut self,
        column: Column,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut row = Vec::new();
        for index in 0..self.deleted.len() {
            if self.deleted.get(index) == Some(&false) {
                row.clear();
                self.row(index, column, &mut row);
                each(&row)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, index: usize, column: Column, row: &mut Vec<u8>) {
        row.extend_from_slice((index + 1).to_string().as_bytes());
        row.push(b' ');
        match column {
            Column::Size => row.extend_from_slice(self.size(index).to_string().as_bytes()),
            Column::Uid => row.extend(self.maildrop.uid(index).unwrap_or_default()),
        }
        row.extend_from_slice(b"\r\n");
    }

    fn retr(&mut self, args: Args<'_>) -> Outcome {
        match self.message(args.word()) {
            Ok(index) => self.send(index, None),
            Err(refusal) => Outcome::Say(refusal),
        }
    }

    fn top(&mut self, args: Args<'_>) -> Outcome {
        let index = match self.message(args.word()) {
            Ok(index) => index,
            Err(refusal) => return Outcome::Say(refusal),
        };
        match lines(args.second.unwrap_or_default()) {
            Some(lines) => self.send(index, Some(lines)),
            None => Outcome::Say(err("that is no number of lines")),
        }
    }

    /// The reply is given only when the message is open, so that it can still be -ERR.
    fn send(&mut self, index: usize, lines: Option<u64>) -> Outcome {
        match self.maildrop.read(index) {
            Ok(file) => {
                let reply = match lines {
                    Some(_) => ok("top of message follows"),
                    None => {
                        let octets = self.size(index);
                        self.retrieved += 1;
                        self.octets = self.octets.saturating_add(octets);
                        ok(format_args!("{octets} octets"))
                    }
                };
                Outcome::Message(reply, Message { index, file, lines })
            }
            Err(error) => {
                warn!("{}: message {}: {error}", self.user, index + 1);
                let number = index + 1;
                Outcome::Say(match error.kind() {
                    Some(io::ErrorKind::NotFound) => {
                        err(format_args!("message {number} is gone: somebody else removed it"))
                    }
                    _ => {
                        let why = format_args!("message {number} cannot be read");
                        err_code(Code::of(&error), why)
                    }
                })
            }
        }
    }

    /// A message was sent whole; this is its size. From now on LIST and STAT tell it too.
    pub(crate) fn sent(&mut self, index: usize, octets: u64) {
        if self.maildrop.correct_size(index, octets) {
            let number = index + 1;
            warn!("{}: message {number}: its name is wrong about its size, {octets}", self.user);
        }
    }

    fn dele(&mut self, args: Args<'_>) -> Outcome {
        Outcome::Say(match self.message(args.word()) {
            Ok(index) => {
                if let Some(mark) = self.deleted.get_mut(index) {
                    *mark = true;
                }
                ok(format_args!("message {} deleted", index + 1))
            }
            Err(refusal) => refusal,
        })
    }

    fn rset(&mut self) -> Outcome {
        self.deleted.fill(false);
        Outcome::Say(ok(format_args!("maildrop has {}", self.summary())))
    }

    /// The index of the message with this number, if it is there and not marked.
    fn message(&self, word: &[u8]) -> Result<usize, Reply> {
        let total = self.deleted.len();
        let none = || err(format_args!("no such message, only {} in maildrop", messages(total)));
        let index = number(word).and_then(|n| n.checked_sub(1)).ok_or_else(none)?;
        match usize::try_from(index).ok().and_then(|index| self.deleted.get(index)) {
            Some(true) => Err(err(format_args!("message {} already deleted", index + 1))),
            Some(false) => usize::try_from(index).map_err(|_| none()),
            None => Err(none()),
        }
    }

    /// UPDATE: removes what is marked, as far as that can be done, frees the lock, and replies.
    pub(crate) fn update(mut self, peer: &str, host: &str) -> Reply {
        let left = self.present().count();
        let marked = self.deleted.iter().enumerate().filter(|(_, deleted)| **deleted);
        let removal = self.maildrop.remove(marked.map(|(index, _)| index));
        for error in &removal.failed {
            warn!("{peer}: {}: {error}", self.user);
        }
        self.log_end(peer, "logged out", removal.removed);
        self.maildrop.sweep();
        drop(self.maildrop); // frees the lock before the client can come again
        if let Some(error) = removal.failed.first() {
            return err_code(Code::of(error), "some deleted messages not removed");
        }
        let left = if left == 0 { "maildrop empty".into() } else { messages(left) + " left" };
        ok(format_args!("{host} POP3 server signing off ({left})"))
    }

    /// The session ended without QUIT: nothing is removed.
    pub(crate) fn abandon(self, peer: &str, why: &str) {
        self.log_end(peer, why, 0);
    }

    fn log_end(&self, peer: &str, what: &str, deleted: usize) {
        info!(
            "{peer}: {} {what}: {} retrieved ({} octets), {deleted} deleted",
            self.user, self.retrieved, self.octets
        );
    }
}

/// A number of lines; one beyond 64 bits is more than any message has.
fn lines(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number(word).unwrap_or(u64::MAX))
}
