//! What is in the maildrop: UIDL and LIST (RFC 1939 §5, §7).

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use super::connection::ServerConnection;
use super::status::{Asked, Result, Status};

/// A message of the maildrop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The number, at least 1.
    pub number: u64,
    /// `None` where the server has no UIDL.
    pub id: Option<Vec<u8>>,
    /// No other message has this id. Identical ones may share it (RFC 1939 §7).
    pub is_unique: bool,
    /// The size in bytes that the server claims. Nothing relies on it.
    pub size: Option<u64>,
}

impl Letter {
    /// Returns the id, if no other message has it.
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.id.as_deref().filter(|_| self.is_unique)
    }
}

/// The messages, in the order of the server, and whether they have ids.
#[derive(Debug)]
pub struct Listing {
    /// The messages.
    pub letters: Vec<Letter>,
    /// The server has UIDL.
    pub has_ids: bool,
}

impl Listing {
    /// Asks for ids, and for sizes where they are wanted, cost no round trip, or are all that there is.
    ///
    /// # Errors
    /// The listing is malformed, or a number occurs twice in it. The server refuses what is needed: LIST, or UIDL for
    /// a reason other than that it has no such command, because all messages would count as new then.
    pub fn read<S: Read + Write>(
        conn: &mut ServerConnection<S>,
        pipelining: bool,
        wants_sizes: bool,
    ) -> Result<Listing> {
        let list = |conn: &mut ServerConnection<S>, is_sent: bool| {
            if !is_sent {
                conn.send_all(&["LIST".into()])?;
            }
            rows(conn, "LIST")
        };
        let (uidl, both) = (["UIDL".to_owned()], ["UIDL".to_owned(), "LIST".to_owned()]);
        conn.send_all(if pipelining { &both } else { &uidl })?;
        let ids = rows(conn, "UIDL");
        // The reply to LIST comes, whatever that to UIDL was.
        let sizes = (pipelining && !conn.is_broken()).then(|| list(conn, true));
        let ids = match ids {
            Err(failure) if conn.is_broken() || failure.status != Status::Unavailable => {
                return Err(failure);
            }
            ids => ids.ok(),
        };
        let needs_sizes = wants_sizes || ids.is_none();
        let sizes = match sizes {
            None if needs_sizes => list(conn, false)?,
            Some(Err(failure)) if needs_sizes || conn.is_broken() => return Err(failure),
            sizes => sizes.and_then(Result::ok).unwrap_or_default(),
        };
        Listing::of(conn, ids, &sizes)
    }

    fn of<S: Read + Write>(
        conn: &mut ServerConnection<S>,
        ids: Option<Vec<Vec<u8>>>,
        sizes: &[Vec<u8>],
    ) -> Result<Listing> {
        let Some(ids) = ids else {
            // Without ids LIST says which messages there are.
            let letters = letters(sizes, |_| None).ok_or_else(|| conn.bad_reply("LIST"))?;
            return Ok(Listing { letters: with_sizes(letters, sizes), has_ids: false });
        };
        let found = letters(&ids, |rest| Some(rest.to_vec()).filter(|id| !id.is_empty()));
        let found = found.filter(|all| all.iter().all(|letter| letter.id.is_some()));
        let letters = found.ok_or_else(|| conn.bad_reply("UIDL"))?;
        Ok(Listing { letters: with_sizes(letters, sizes), has_ids: true })
    }
}

/// Reads a reply with its listing.
fn rows<S: Read + Write>(conn: &mut ServerConnection<S>, command: &str) -> Result<Vec<Vec<u8>>> {
    conn.reply(command, Asked::Other)?;
    conn.listing(command)
}

/// Splits a row into its number, which is at least 1, and the rest. Blanks around them are taken.
fn split(row: &[u8]) -> Option<(u64, &[u8])> {
    let row = row.trim_ascii();
    let at = row.iter().position(u8::is_ascii_whitespace).unwrap_or(row.len());
    let (digits, rest) = row.split_at_checked(at)?;
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(digits).ok()?.parse().ok().filter(|n| is_number && *n > 0)?;
    Some((number, rest.trim_ascii()))
}

/// Reads the rows; `None` if one is malformed or a number occurs twice.
fn letters(rows: &[Vec<u8>], id: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<Letter>> {
    let mut numbers = HashSet::new();
    let letters = rows.iter().map(|row| {
        let (number, rest) = split(row)?;
        let letter = Letter { number, id: id(rest), is_unique: true, size: None };
        numbers.insert(number).then_some(letter)
    });
    let mut letters = letters.collect::<Option<Vec<_>>>()?;
    let mut copies: HashMap<Vec<u8>, usize> = HashMap::new();
    for id in letters.iter().filter_map(|letter| letter.id.as_ref()) {
        *copies.entry(id.clone()).or_default() += 1;
    }
    for letter in &mut letters {
        letter.is_unique = letter.id.as_ref().is_none_or(|id| copies.get(id) == Some(&1));
    }
    Some(letters)
}

/// Adds the sizes that can be read.
fn with_sizes(mut letters: Vec<Letter>, rows: &[Vec<u8>]) -> Vec<Letter> {
    let sizes: HashMap<u64, u64> = rows
        .iter()
        .filter_map(|row| {
            let (number, rest) = split(row)?;
            let word = rest.split(u8::is_ascii_whitespace).next()?;
            Some((number, str::from_utf8(word).ok()?.parse().ok()?))
        })
        .collect();
    for letter in &mut letters {
        letter.size = sizes.get(&letter.number).copied();
    }
    letters
}
