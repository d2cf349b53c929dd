//! A letter on its way to the process that delivers it: records, as many in a message as it can hold, because each
//! message wakes that process.
//!
//! ```text
//!  # | length, record | length, record | …
//! ```
//! A length is two bytes, the high one first. The first record is the question, the last one the end.

use forknet::LONGEST_MESSAGE;

/// First byte of such a message.
const RECORDS: u8 = b'#';
/// Bytes of a record's length.
const LENGTH: usize = 2;
/// Longest record in bytes.
pub const LONGEST_RECORD: usize = LONGEST_MESSAGE - 1 - LENGTH;

/// A message to which records are added.
#[derive(Debug)]
pub struct Packer(Vec<u8>);

impl Default for Packer {
    fn default() -> Packer {
        Packer(vec![RECORDS])
    }
}

impl Packer {
    /// Adds a record, which is first byte and rest; returns false where there is no room for it.
    #[must_use]
    pub fn add(&mut self, first: Option<u8>, rest: &[u8]) -> bool {
        let length = rest.len() + usize::from(first.is_some());
        match u16::try_from(length) {
            Ok(number) if self.0.len() + LENGTH + length <= LONGEST_MESSAGE => {
                self.0.extend(number.to_be_bytes());
                self.0.extend(first);
                self.0.extend_from_slice(rest);
                true
            }
            _ => false,
        }
    }

    /// Returns the message, and begins another one.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).0
    }
}

/// A message whose records are read.
#[derive(Debug)]
pub struct Records {
    message: Vec<u8>,
    at: usize,
}

impl Records {
    /// Returns the message back where it is another one.
    ///
    /// # Errors
    /// The message.
    pub fn new(message: Vec<u8>) -> Result<Records, Vec<u8>> {
        if message.first() == Some(&RECORDS) {
            Ok(Records { message, at: 1 })
        } else {
            Err(message)
        }
    }

    /// Whether all was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.message.len()
    }

    /// Returns the next record; `None` where there is no whole one.
    pub fn next_record(&mut self) -> Option<&[u8]> {
        let (length, rest) = self.message.get(self.at..)?.split_first_chunk::<LENGTH>()?;
        let record = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        self.at += LENGTH + record.len();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_and_a_cut_message_has_less() {
        let mut packer = Packer::default();
        assert!(
            packer.add(Some(b't'), b"ext") && packer.add(None, b"") && packer.add(None, b"end")
        );
        let message = packer.take();
        for cut in 1..=message.len() {
            let mut records = Records::new(message[..cut].to_vec()).unwrap();
            let mut found: Vec<Vec<u8>> = Vec::new();
            while let Some(record) = records.next_record() {
                found.push(record.to_vec());
            }
            let whole: &[&[u8]] = &[b"text", b"", b"end"];
            assert_eq!(found, whole[..found.len()]);
            assert_eq!(found.len() == 3, cut == message.len());
            assert_eq!(records.is_empty(), [1, 7, 9, 14].contains(&cut), "{cut}");
        }
        assert_eq!(Records::new(b"d".to_vec()).unwrap_err(), b"d");
        assert!(Records::new(Vec::new()).is_err());
    }

    #[test]
    fn a_message_holds_the_longest_record_and_no_more() {
        let mut packer = Packer::default();
        assert!(!packer.add(None, &[7; LONGEST_RECORD + 1]));
        assert!(packer.add(Some(7), &[7; LONGEST_RECORD - 1]));
        assert!(!packer.add(None, b""));
        assert_eq!(packer.take().len(), LONGEST_MESSAGE);
        assert!(packer.add(None, &[7; LONGEST_RECORD]));
    }
}
