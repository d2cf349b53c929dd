//! The text of a letter of the queue, as the client of SMTP reads it.

use std::io::{self, Read};

use mailstore::LockedLetter;
use smtpclient::{Facts, Letter};

/// Longest text in bytes that is kept in memory, so that it is read once.
const MAX_KEPT: u64 = 1 << 20;

/// Longest notification in bytes: one with a letter of 1 MiB in it, and a thousand recipients.
const MAX_NOTIFICATION: u64 = 4 << 20;

/// The text of a letter, with lines that end in LF.
pub(super) struct QueueText<'l> {
    letter: &'l LockedLetter,
    kept: Option<Vec<u8>>,
    facts: Facts,
}

impl QueueText<'_> {
    /// Measures a text.
    ///
    /// # Errors
    /// As read(2).
    pub(super) fn new(letter: &LockedLetter) -> io::Result<QueueText<'_>> {
        let length = letter.text_length().map_err(|error| other(&error))?;
        let mut text = letter.text().map_err(|error| other(&error))?;
        if length > MAX_KEPT {
            let facts = Facts::of(&mut text)?;
            return Ok(QueueText { letter, kept: None, facts });
        }
        let mut kept = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
        text.take(length).read_to_end(&mut kept)?;
        let facts = Facts::of(&mut &kept[..])?;
        Ok(QueueText { letter, kept: Some(kept), facts })
    }
}

impl Letter for QueueText<'_> {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        match &self.kept {
            Some(kept) => Ok(Box::new(&kept[..])),
            None => Ok(Box::new(self.letter.text().map_err(|error| other(&error))?)),
        }
    }

    /// A notification of ours can be converted; a letter of others would lose its signatures.
    fn in_seven_bits(&mut self) -> Option<Vec<u8>> {
        if !self.letter.envelope().sender.is_empty() {
            return None;
        }
        let mut text = Vec::new();
        let mut reader = self.reader().ok()?.take(MAX_NOTIFICATION);
        reader.read_to_end(&mut text).ok()?;
        dsn::in_seven_bits(&text)
    }
}

fn other(error: &mailstore::Error) -> io::Error {
    io::Error::other(error.to_string())
}
