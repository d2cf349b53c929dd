//! Where copies of a letter were stored: for the log.

use std::fmt;

/// Where a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// A Maildir.
    Maildir,
    /// An mbox, or a file to which letters are appended.
    Mbox,
    /// A command.
    Command,
    /// Another server, by LMTP.
    Lmtp,
    /// A terminal.
    Terminal,
    /// The queue, a recipient elsewhere each.
    Queue,
    /// The Maildir of letters that a filter keeps back.
    Quarantine,
    /// Where it was already, since the client has sent it before.
    Before,
}

/// Their names in the log.
const NAMES: [(Where, &str); 8] = [
    (Where::Maildir, "maildir"),
    (Where::Mbox, "mbox"),
    (Where::Command, "command"),
    (Where::Lmtp, "lmtp"),
    (Where::Terminal, "terminal"),
    (Where::Queue, "queue"),
    (Where::Quarantine, "quarantine"),
    (Where::Before, "before"),
];
/// Bytes of a record.
const RECORD_BYTES: usize = 2 * NAMES.len();

/// How many copies of a letter were stored, by where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored([u16; NAMES.len()]);

impl Stored {
    /// Counts copies.
    pub fn add(&mut self, place: Where, count: usize) {
        let at = NAMES.iter().position(|(known, _)| *known == place);
        if let Some(known) = at.and_then(|at| self.0.get_mut(at)) {
            *known = known.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        }
    }

    /// Returns the numbers as a record, after which others may stand.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|count| count.to_be_bytes()).collect()
    }

    /// Reads a record; returns it and what follows it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<(Stored, &[u8])> {
        let (numbers, rest) = record.split_at_checked(RECORD_BYTES)?;
        let mut stored = Stored::default();
        for (count, pair) in stored.0.iter_mut().zip(numbers.chunks(2)) {
            *count = u16::from_be_bytes(pair.try_into().ok()?);
        }
        Some((stored, rest))
    }
}

/// `maildir:2,queue:1`, or `nowhere`.
impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for ((_, name), count) in NAMES.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            write!(f, "{comma}{name}:{count}")?;
            comma = ",";
        }
        if comma.is_empty() { f.write_str("nowhere") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_shown_and_read_as_it_was_written() {
        let mut stored = Stored::default();
        assert_eq!(stored.to_string(), "nowhere");
        stored.add(Where::Queue, 1);
        stored.add(Where::Maildir, 2);
        stored.add(Where::Before, 70_000);
        assert_eq!(stored.to_string(), "maildir:2,queue:1,before:65535");
        let record = [&stored.encode()[..], b"+t"].concat();
        assert_eq!(Stored::decode(&record), Some((stored, &b"+t"[..])));
        assert_eq!(Stored::decode(&record[..RECORD_BYTES - 1]), None);
    }
}
