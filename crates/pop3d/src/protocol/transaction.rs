//! The TRANSACTION state (RFC 1939 §5, §7) and the UPDATE state that ends it (§6).

use std::io;

use log::{info, warn};
use mailstore::Maildrop;

use crate::protocol::command::{Args, Command, Syntax, number};
use crate::protocol::outcome::{Column, Message, Outcome};
use crate::protocol::reply::{Code, Reply, err, err_code, messages, ok};

/// The commands of this state.
pub const COMMANDS: &[Command<Transaction>] = &[
    Command::new("STAT", Syntax::None, |state, _| state.stat()),
    Command::new("LIST", Syntax::Optional, |s, args| s.list(args, Column::Size)),
    Command::new("RETR", Syntax::One, Transaction::retr),
    Command::new("DELE", Syntax::One, Transaction::dele),
    Command::new("NOOP", Syntax::None, |_, _| Outcome::Reply(ok("nothing done"))),
    Command::new("RSET", Syntax::None, |state, _| state.rset()),
    Command::new("TOP", Syntax::Two, Transaction::top),
    Command::new("UIDL", Syntax::Optional, |s, args| s.list(args, Column::Uid)),
    Command::new("CAPA", Syntax::None, |_, _| Outcome::Capabilities),
    Command::new("QUIT", Syntax::None, |_, _| Outcome::Quit),
];

/// A session with a locked maildrop.
pub struct Transaction {
    user: String,
    maildrop: Maildrop,
    deleted: Vec<bool>,
    retrieved: u64,
    octets: u64,
}

impl Transaction {
    /// Begins the state, with no message marked as deleted. `user` is printable.
    #[must_use]
    pub fn new(user: String, maildrop: Maildrop) -> Transaction {
        let deleted = vec![false; maildrop.len()];
        Transaction { user, maildrop, deleted, retrieved: 0, octets: 0 }
    }

    /// Returns the user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns `2 messages (320 octets)`, without the size if messages would have to be read for
    /// it.
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

    /// Iterates over the messages not marked as deleted.
    fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.deleted.iter().enumerate().filter(|(_, deleted)| !**deleted).map(|(index, _)| index)
    }

    /// Returns the size of a message, 0 if it must be read and cannot be.
    fn size(&mut self, index: usize) -> u64 {
        self.maildrop.size(index).unwrap_or_else(|error| {
            warn!("{}: message {}: {error}", self.user, index + 1);
            0
        })
    }

    fn total(&mut self) -> (usize, u64) {
        let indices: Vec<usize> = self.present().collect();
        // Saturates, because a size in a name may be any number.
        let octets = indices.iter().map(|&index| self.size(index)).fold(0, u64::saturating_add);
        (indices.len(), octets)
    }

    fn stat(&mut self) -> Outcome {
        let (count, octets) = self.total();
        Outcome::Reply(ok(format_args!("{count} {octets}")))
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
                Outcome::Reply(reply)
            }
            Err(refusal) => Outcome::Reply(refusal),
        }
    }

    /// Calls `each` with every row of a listing: `number size` or `number id`, and CRLF.
    ///
    /// # Errors
    /// Errors of `each`.
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
            Ok(index) => self.open(index, None),
            Err(refusal) => Outcome::Reply(refusal),
        }
    }

    fn top(&mut self, args: Args<'_>) -> Outcome {
        let index = match self.message(args.word()) {
            Ok(index) => index,
            Err(refusal) => return Outcome::Reply(refusal),
        };
        match lines(args.second.unwrap_or_default()) {
            Some(lines) => self.open(index, Some(lines)),
            None => Outcome::Reply(err("not a number of lines")),
        }
    }

    /// Opens a message before the reply, because the reply can then still be -ERR.
    fn open(&mut self, index: usize, lines: Option<u64>) -> Outcome {
        match self.maildrop.read(index) {
            Ok(text) => {
                let reply = match lines {
                    Some(_) => ok("top of message follows"),
                    None => {
                        let octets = self.size(index);
                        self.retrieved += 1;
                        self.octets = self.octets.saturating_add(octets);
                        ok(format_args!("{octets} octets"))
                    }
                };
                Outcome::Message(reply, Message { index, text, lines })
            }
            Err(error) => {
                warn!("{}: message {}: {error}", self.user, index + 1);
                let number = index + 1;
                Outcome::Reply(match error.kind() {
                    Some(io::ErrorKind::NotFound) => {
                        err(format_args!("message {number} is gone: another program removed it"))
                    }
                    _ => {
                        let why = format_args!("message {number} cannot be read");
                        err_code(Code::from_error(&error), why)
                    }
                })
            }
        }
    }

    /// Records the size of a message that was sent to its end. LIST and STAT use it from then on.
    pub(crate) fn sent(&mut self, index: usize, octets: u64) {
        if self.maildrop.correct_size(index, octets) {
            let number = index + 1;
            warn!(
                "{}: message {number}: wrong size in its file name, actual size {octets}",
                self.user
            );
        }
    }

    fn dele(&mut self, args: Args<'_>) -> Outcome {
        Outcome::Reply(match self.message(args.word()) {
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
        Outcome::Reply(ok(format_args!("maildrop has {}", self.summary())))
    }

    /// Returns the index of the message with this number, if it exists and is not marked as
    /// deleted.
    fn message(&self, word: &[u8]) -> Result<usize, Reply> {
        let total = self.deleted.len();
        let no_such = || err(format_args!("no such message, only {} in maildrop", messages(total)));
        let index = number(word).and_then(|n| n.checked_sub(1)).ok_or_else(no_such)?;
        match usize::try_from(index).ok().and_then(|index| self.deleted.get(index)) {
            Some(true) => Err(err(format_args!("message {} already deleted", index + 1))),
            Some(false) => usize::try_from(index).map_err(|_| no_such()),
            None => Err(no_such()),
        }
    }

    /// UPDATE (RFC 1939 §6): removes as many of the marked messages as possible, releases the lock,
    /// and returns the reply.
    pub(crate) fn update(mut self, peer: &str, host: &str) -> Reply {
        let left = self.present().count();
        let marked = self.deleted.iter().enumerate().filter(|(_, deleted)| **deleted);
        let removal = self.maildrop.remove(marked.map(|(index, _)| index));
        for error in &removal.failed {
            warn!("{peer}: {}: {error}", self.user);
        }
        self.log_end(peer, "logged out", removal.removed);
        self.maildrop.sweep();
        drop(self.maildrop); // releases the lock before the client can connect again
        if let Some(error) = removal.failed.first() {
            return err_code(Code::from_error(error), "some deleted messages not removed");
        }
        let left = if left == 0 { "maildrop empty".into() } else { messages(left) + " left" };
        ok(format_args!("{host} POP3 server signing off ({left})"))
    }

    /// Ends the session without QUIT. No message is removed.
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

/// Parses a number of lines. One of more than 64 bits counts as the largest number.
fn lines(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number(word).unwrap_or(u64::MAX))
}
