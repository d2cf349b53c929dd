//! The TRANSACTION state (RFC 1939 §5, §7) and the UPDATE state that ends it (§6).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::{fmt, io};

use log::warn;
use mailstore::{Maildrop, WireSize};

use crate::protocol::command::{Args, Command, Syntax, number};
use crate::protocol::end_line::{self, Done, Login, Sum};
use crate::protocol::language::lang;
use crate::protocol::outcome::{Column, Message, Outcome};
use crate::protocol::reply::{Code, Reply, err, err_code, messages, ok};
use crate::protocol::surrogate::Surrogate;

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
    Command::new("LAST", Syntax::None, |state, _| state.last()),
    Command::new("LANG", Syntax::Optional, |_, args| lang(args)),
    Command::new("CAPA", Syntax::None, |_, _| Outcome::Capabilities),
    Command::new("QUIT", Syntax::None, |_, _| Outcome::Quit),
];

/// Most warnings about messages that a session logs: a client can ask for one that cannot be read over and over.
const MAX_WARNINGS: u32 = 100;

/// A header in place of the first bytes of a message, as many as the number says.
pub(crate) type Header = (usize, Vec<u8>);

/// A session with a locked maildrop.
pub struct Transaction {
    login: Login,
    maildrop: Maildrop,
    deleted: Vec<bool>,
    retr: Sum,
    top: Sum,
    /// The sizes of messages that were sent with another header than the stored one ([`Surrogate`]).
    surrogates: BTreeMap<usize, u64>,
    /// The highest number that RETR or DELE had; `None` where LAST is not offered.
    last: Option<usize>,
    /// Number of warnings so far.
    warnings: Cell<u32>,
}

impl Transaction {
    /// Begins the state, with no message marked as deleted.
    #[must_use]
    pub fn new(login: Login, mut maildrop: Maildrop, offers_last: bool) -> Transaction {
        maildrop.look_up_sizes();
        let deleted = vec![false; maildrop.len()];
        let (retr, top, last) = (Sum::ZERO, Sum::ZERO, offers_last.then_some(0));
        let (surrogates, warnings) = (BTreeMap::new(), Cell::new(0));
        Transaction { login, maildrop, deleted, retr, top, surrogates, last, warnings }
    }

    /// Returns the user's name, printable.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.login.user
    }

    /// Returns `2 messages (320 octets)`, without the size if messages would have to be read for
    /// it.
    #[must_use]
    pub fn summary(&self) -> String {
        let left = self.left();
        let count = messages(left.messages());
        match left.octets() {
            Some(octets) => format!("{count} ({octets} octets)"),
            None => count,
        }
    }

    /// Sums up the messages not marked as deleted.
    fn left(&self) -> Sum {
        self.present().map(|index| self.known_size(index)).collect()
    }

    /// Returns the size with which a message is sent, if it need not be read for that.
    fn known_size(&self, index: usize) -> Option<u64> {
        self.surrogates.get(&index).copied().or_else(|| self.maildrop.known_size(index))
    }

    /// Whether a message is marked as deleted.
    pub(crate) fn removes(&self) -> bool {
        self.deleted.contains(&true)
    }

    /// Iterates over the messages not marked as deleted.
    fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.deleted.iter().enumerate().filter(|(_, deleted)| !**deleted).map(|(index, _)| index)
    }

    /// Returns the size of a message, 0 if it must be read and cannot be.
    fn size(&mut self, index: usize) -> u64 {
        if let Some(octets) = self.surrogates.get(&index) {
            return *octets;
        }
        self.maildrop.size(index).unwrap_or_else(|error| {
            self.warn(format_args!("message {}: {error}", index + 1));
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
        push_number(index as u64 + 1, row);
        row.push(b' ');
        match column {
            Column::Size => push_number(self.size(index), row),
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
            Ok(text) => Outcome::Message(Message { index, text, lines }),
            Err(error) => Outcome::Reply(self.cannot_read(index, &error)),
        }
    }

    /// Returns the refusal of a message that cannot be read.
    pub(crate) fn cannot_read(&self, index: usize, error: &mailstore::Error) -> Reply {
        let number = index + 1;
        self.warn(format_args!("message {number}: {error}"));
        match error.kind() {
            Some(io::ErrorKind::NotFound) => {
                err(format_args!("message {number} is gone: another program removed it"))
            }
            _ => {
                let why = format_args!("message {number} cannot be read");
                err_code(Code::from_error(error), why)
            }
        }
    }

    /// Begins to send a message whose text begins with `start`, all of it if `is_whole`. Returns the reply, and
    /// the header that is sent in place of the first bytes.
    ///
    /// # Errors
    /// The refusal of a message that needs UTF8 and cannot be had without.
    pub(crate) fn begin_message(
        &mut self,
        message: &Message,
        (start, is_whole): (&[u8], bool),
    ) -> Result<(Reply, Option<Header>), Reply> {
        let Message { index, lines, .. } = message;
        let surrogate = match self.login.is_utf8 {
            true => Surrogate::Needless,
            false => Surrogate::of(start, is_whole),
        };
        let header = match surrogate {
            Surrogate::Needless => None,
            Surrogate::Header(used, text) => Some((used, text)),
            Surrogate::TooLong => {
                let why = "the header is too long to be sent without UTF8";
                return Err(err_code(Code::Utf8, why));
            }
        };
        if lines.is_some() {
            self.top.count_message();
            return Ok((ok("top of message follows"), header));
        }
        self.retr.count_message();
        self.access(*index);
        let mut octets = self.size(*index);
        if let Some((used, text)) = &header
            && !self.surrogates.contains_key(index)
        {
            let stored = start.get(..*used).unwrap_or_default();
            octets = octets.saturating_sub(wire_size(stored)).saturating_add(wire_size(text));
            self.surrogates.insert(*index, octets);
        }
        Ok((ok(format_args!("{octets} octets")), header))
    }

    /// LAST (RFC 1460 §5), which RFC 1725 has taken away and some clients still ask for.
    fn last(&mut self) -> Outcome {
        match self.last {
            Some(number) => Outcome::Reply(ok(number)),
            None => Outcome::BadCommand(err("unknown command")),
        }
    }

    /// Logs what is wrong, up to [`MAX_WARNINGS`] times.
    fn warn(&self, what: fmt::Arguments<'_>) {
        let (Login { peer, user, .. }, count) = (&self.login, self.warnings.get());
        self.warnings.set(count.saturating_add(1));
        match count {
            0..MAX_WARNINGS => warn!("{peer}: {user}: {what}"),
            MAX_WARNINGS => warn!("{peer}: {user}: further warnings of this session are left out"),
            _ => {}
        }
    }

    fn access(&mut self, index: usize) {
        self.last = self.last.map(|last| last.max(index + 1));
    }

    /// Counts the bytes of a message that were sent, also when the connection was lost meanwhile.
    pub(crate) fn count_sent(&mut self, is_top: bool, octets: u64) {
        if is_top { self.top.count_octets(octets) } else { self.retr.count_octets(octets) }
    }

    /// Records the size of a message that was sent to its end. LIST and STAT use it from then on.
    pub(crate) fn sent(&mut self, index: usize, octets: u64) {
        if self.surrogates.contains_key(&index) {
            return; // the stored letter has another size
        }
        if self.maildrop.correct_size(index, octets) {
            let number = index + 1;
            self.warn(format_args!(
                "message {number}: wrong size in its file name, actual size {octets}"
            ));
        }
    }

    fn dele(&mut self, args: Args<'_>) -> Outcome {
        Outcome::Reply(match self.message(args.word()) {
            Ok(index) => {
                if let Some(mark) = self.deleted.get_mut(index) {
                    *mark = true;
                }
                self.access(index);
                ok(format_args!("message {} deleted", index + 1))
            }
            Err(refusal) => refusal,
        })
    }

    fn rset(&mut self) -> Outcome {
        self.deleted.fill(false);
        self.last = self.last.map(|_| 0);
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
        let marked: Vec<usize> = marked.map(|(index, _)| index).collect();
        let dele: Sum = marked.iter().map(|&index| self.known_size(index)).collect();
        let count = marked.len();
        let removal = self.maildrop.remove(marked.into_iter());
        for error in removal.failed.iter().chain(&removal.unsynced) {
            self.warn(format_args!("{error}"));
        }
        match count.saturating_sub(removal.removed) {
            0 if removal.unsynced.is_some() => {
                self.log_end(peer, "logged out, removals not synced", (dele, self.left()));
            }
            0 => self.log_end(peer, "logged out", (dele, self.left())),
            failed => {
                let (dele, left) =
                    (Sum::of_messages(removal.removed), Sum::of_messages(left + failed));
                self.log_end(peer, &format!("logged out, {failed} not removed"), (dele, left));
            }
        }
        self.maildrop.sweep();
        drop(self.maildrop); // releases the lock before the client can connect again
        if let Some(error) = removal.failed.first() {
            return err_code(Code::from_error(error), "some deleted messages not removed");
        }
        if let Some(error) = &removal.unsynced {
            let why = "deleted messages may be back after a power failure";
            return err_code(Code::from_error(error), why);
        }
        let left = if left == 0 { "maildrop empty".into() } else { messages(left) + " left" };
        ok(format_args!("{host} POP3 server signing off ({left})"))
    }

    /// Ends the session without QUIT. No message is removed.
    pub(crate) fn abandon(mut self, peer: &str, how: &str) {
        self.deleted.fill(false);
        self.log_end(peer, how, (Sum::ZERO, self.left()));
    }

    fn log_end(&self, peer: &str, how: &str, (dele, left): (Sum, Sum)) {
        let done = Done { retr: self.retr, top: self.top, dele, left };
        end_line::log(peer, &self.login, how, &done);
    }
}

/// Returns the size of a part of a letter, which ends with a line, with CRLF line ends.
fn wire_size(part: &[u8]) -> u64 {
    let mut size = WireSize::new();
    size.feed(part);
    size.octets()
}

/// Appends a number, without a String for it, because a listing has two in each row.
fn push_number(mut number: u64, row: &mut Vec<u8>) {
    let start = row.len();
    loop {
        row.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = row.get_mut(start..) {
        digits.reverse();
    }
}

/// Parses a number of lines. One of more than 64 bits counts as the largest number.
fn lines(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number(word).unwrap_or(u64::MAX))
}
