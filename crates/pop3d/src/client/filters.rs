//! What `fetch` leaves on the server: by size, by age, by number.

use std::io::{Read, Write};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::connection::ServerConnection;
use super::listing::Letter;
use super::options::Filters;
use super::status::{Asked, Result};

/// Largest header that is looked at, in bytes.
const MAX_HEADER: usize = 256 * 1024;
/// Most TOP commands at once. Their replies may be large, so they are fewer than those of RETR.
const WINDOW: usize = 64;

impl Filters {
    /// Returns whether a size is looked at.
    pub(crate) fn by_size(&self) -> bool {
        self.max_size.is_some() || self.min_size.is_some()
    }

    /// Returns whether the size lets a message pass; one that is not known does.
    fn passes_size(&self, size: Option<u64>) -> bool {
        let Some(size) = size else { return true };
        self.max_size.is_none_or(|max| size <= max) && self.min_size.is_none_or(|min| size >= min)
    }

    /// Returns whether the age in seconds lets a message pass. One without a date counts as new.
    fn passes_age(&self, age: Option<u64>) -> bool {
        let age = age.unwrap_or_default();
        self.max_age.is_none_or(|max| age <= max) && self.min_age.is_none_or(|min| age >= min)
    }
}

/// Returns those of the messages that are to be fetched.
pub(crate) fn chosen<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    letters: Vec<Letter>,
    filters: &Filters,
    pipelining: bool,
) -> Result<Vec<Letter>> {
    let mut letters = letters;
    letters.retain(|letter| filters.passes_size(letter.size));
    if filters.max_age.is_some() || filters.min_age.is_some() {
        let ages = ages(conn, &letters, if pipelining { WINDOW } else { 1 })?;
        let mut ages = ages.into_iter();
        letters.retain(|_| filters.passes_age(ages.next().flatten()));
    }
    letters.truncate(filters.max_letters.unwrap_or(usize::MAX));
    Ok(letters)
}

/// Asks for the headers; returns the age of each message in seconds.
fn ages<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    letters: &[Letter],
    window: usize,
) -> Result<Vec<Option<u64>>> {
    let now = Timestamp::now().as_second();
    let mut ages = Vec::with_capacity(letters.len());
    for letters in letters.chunks(window) {
        let commands: Vec<String> =
            letters.iter().map(|letter| format!("TOP {} 0", letter.number)).collect();
        conn.send_all(&commands)?;
        for command in &commands {
            let header = header(conn, command)?;
            let date = header.as_deref().and_then(date);
            ages.push(date.map(|date| u64::try_from(now - date).unwrap_or_default()));
        }
    }
    Ok(ages)
}

/// Reads the reply to TOP; `None` where the server refuses.
fn header<S: Read + Write>(
    conn: &mut ServerConnection<S>,
    command: &str,
) -> Result<Option<Vec<u8>>> {
    match conn.reply(command, Asked::Other) {
        Ok(_) => {}
        Err(failure) if conn.is_broken() => return Err(failure),
        Err(_) => return Ok(None),
    }
    let mut header = Vec::new();
    conn.message(command, |piece| {
        let room = MAX_HEADER.saturating_sub(header.len());
        header.extend_from_slice(piece.get(..room).unwrap_or(piece));
        Ok(())
    })?;
    Ok(Some(header))
}

/// Returns the date of a header in seconds since 1970 (RFC 5322 §3.6.1).
fn date(header: &[u8]) -> Option<i64> {
    let mut lines = header.split(|&b| b == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    let value = lines.by_ref().find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"date:").then_some(value)
    })?;
    let mut text = value.to_vec();
    for folded in lines.take_while(|line| line.starts_with(b" ") || line.starts_with(b"\t")) {
        text.extend_from_slice(folded);
    }
    // A comment, such as the zone's name, may stand behind.
    let text = text.split(|&b| b == b'(').next()?.trim_ascii();
    let date = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    Some(date.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_from_its_own_line() {
        for (header, expected) in [
            ("Date: Thu, 01 Jan 1970 00:01:00 +0000\n", Some(60)),
            ("A: b\ndate:  1 Jan 1970 01:00:01 +0100 (CET)\n\n", Some(1)),
            ("Date: Thu, 1 Jan\n 1970 00:00:02 GMT\nDate: x\n", Some(2)),
            ("Date: Fri, 1 Jan 1970 00:00:03 +0000\r\n", Some(3)),
            ("X-Date: Thu, 01 Jan 1970 00:01:00 +0000\n", None),
            ("A: b\n\nDate: Thu, 01 Jan 1970 00:01:00 +0000\n", None),
            ("Date: yesterday\n", None),
            ("", None),
        ] {
            assert_eq!(date(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn what_is_not_known_passes_as_new_and_small() {
        let by = |max_age, min_age| Filters { max_age, min_age, ..Filters::default() };
        assert!(by(Some(10), None).passes_age(None) && !by(Some(10), None).passes_age(Some(11)));
        assert!(!by(None, Some(10)).passes_age(None) && by(None, Some(10)).passes_age(Some(10)));
        let sizes = Filters { max_size: Some(9), min_size: Some(3), ..Filters::default() };
        assert!(
            sizes.passes_size(None) && sizes.passes_size(Some(9)) && sizes.passes_size(Some(3))
        );
        assert!(!sizes.passes_size(Some(10)) && !sizes.passes_size(Some(2)));
    }
}
