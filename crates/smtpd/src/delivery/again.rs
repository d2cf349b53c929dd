//! A letter that comes again, because some of its places did not have it ([`Duplicates`]): to those that have it, it does
//! not go.

use std::collections::BTreeSet;
use std::io::{self, Write};

use forknet::reason;
use sha2::{Digest, Sha256};

use crate::delivery::text::Text;
use crate::duplicates::{Duplicates, KEY_BYTES, Key, Known};

/// The begin of our own field.
const RECEIVED: &[u8] = b"Received:";

/// The places of one letter that are known.
pub(super) struct Again<'d> {
    duplicates: &'d Duplicates,
    known: Known,
    /// The hash of the letter; `None` while no place of any letter is known.
    letter: Option<[u8; 32]>,
    /// Those that have the letter since it came before.
    had: BTreeSet<Key>,
    /// Those that have it and must be known when it comes again.
    has: BTreeSet<Key>,
    /// Those that need not be known any more.
    done: BTreeSet<Key>,
}

impl<'d> Again<'d> {
    /// Begins. The text is read only where some letter has places that are known.
    pub(super) fn new(duplicates: &'d Duplicates, sender: &[u8], text: &Text) -> Again<'d> {
        let known = duplicates.read();
        let letter = if known.is_empty() { None } else { of_letter(sender, text).ok() };
        let (had, has, done) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Again { duplicates, known, letter, had, has, done }
    }

    /// Returns whether a place has the letter.
    pub(super) fn has(&mut self, place: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        let Some(letter) = &self.letter else { return false };
        let Some(key) = place().map(|place| at_place(letter, &place)) else { return false };
        let has = self.known.has(&key);
        if has {
            self.had.insert(key);
        }
        has
    }

    /// Returns the number of places that have it since it came before.
    pub(super) fn count(&self) -> usize {
        self.had.len()
    }

    /// Notes a place that has the letter now: whether the letter will come again to the recipient that it is of.
    pub(super) fn note(&mut self, place: impl FnOnce() -> Option<Vec<u8>>, comes_again: bool) {
        let Some(letter) = &self.letter else { return };
        let Some(key) = place().map(|place| at_place(letter, &place)) else { return };
        let _ = match comes_again {
            true => self.has.insert(key),
            false => self.had.contains(&key) && self.done.insert(key),
        };
    }

    /// Has the letter known: it will come again.
    pub(super) fn expect(&mut self, sender: &[u8], text: &Text) {
        if self.letter.is_none() {
            self.letter = of_letter(sender, text).ok();
        }
    }

    /// Writes it down, before the letter is answered. `about` is the letter, for the log.
    pub(super) fn write(self, about: &str) {
        let has: Vec<Key> = self.has.iter().copied().collect();
        let done: Vec<Key> = self.done.difference(&self.has).copied().collect();
        if let Err(error) = self.duplicates.note(&has, &done) {
            log::warn!("{about}: those who have it may get it twice: {}", reason(&error));
        }
    }
}

/// Returns the hash of a letter: of its sender and its text, without our own `Received:` above, which is another one
/// each time.
///
/// # Errors
/// The text cannot be read.
fn of_letter(sender: &[u8], text: &Text) -> io::Result<[u8; 32]> {
    let mut hash = Hash { sha: Sha256::new_with_prefix(sender), at: At::Start, line: Vec::new() };
    hash.sha.update(b"\0");
    text.copy_behind(b"", &mut hash)?;
    hash.sha.update(&hash.line);
    Ok(hash.sha.finalize().into())
}

/// Returns the hash of a letter at a place.
fn at_place(letter: &[u8; 32], place: &[u8]) -> Key {
    let whole = Sha256::new_with_prefix(letter).chain_update(place).finalize();
    let mut key = [0; KEY_BYTES];
    key.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    key
}

/// Where a hash is in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the name of the first field.
    Start,
    /// In our own field.
    Own,
    /// At the start of a line after it.
    LineOfOwn,
    Rest,
}

struct Hash {
    sha: Sha256,
    at: At,
    /// The begin of the text, until it is known what that is.
    line: Vec<u8>,
}

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some((first, tail)) = rest.split_first() {
            match self.at {
                At::Rest => {
                    self.sha.update(rest);
                    break;
                }
                At::Start => {
                    self.line.push(*first);
                    rest = tail;
                    if !RECEIVED.starts_with(&self.line) {
                        self.sha.update(&self.line);
                        (self.line, self.at) = (Vec::new(), At::Rest);
                    } else if self.line.len() == RECEIVED.len() {
                        (self.line, self.at) = (Vec::new(), At::Own);
                    }
                }
                At::Own => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    self.at = if end.is_some() { At::LineOfOwn } else { At::Own };
                    rest = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
                }
                At::LineOfOwn => {
                    self.at = if b" \t".contains(first) { At::Own } else { At::Rest };
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> [u8; 32] {
        of_letter(b"a@b.test", &Text::Memory(text.into())).unwrap()
    }

    #[test]
    fn a_letter_that_comes_again_has_the_same_hash_and_no_other_has() {
        let first = hash("Received: from x\n\tby y;\n\tMonday\nSubject: a\n\ntext\n");
        assert_eq!(first, hash("Received: from x\n\tby y;\n\tTuesday\nSubject: a\n\ntext\n"));
        assert_eq!(first, hash("Subject: a\n\ntext\n"));
        for other in [
            "Subject: b\n\ntext\n",
            "Received: z\nReceived: z\nSubject: a\n\ntext\n",
            "Received: z\n",
            "Rec",
            "",
        ] {
            assert_ne!(first, hash(other), "{other:?}");
        }
        assert_ne!(hash("Rec"), hash(""));
        let text = Text::Memory(b"Subject: a\n\ntext\n".to_vec());
        assert_ne!(first, of_letter(b"", &text).unwrap());
        assert_ne!(at_place(&first, b"levy"), at_place(&first, b"bob"));
        for cut in 1..20 {
            let mut hash = Hash { sha: Sha256::new(), at: At::Start, line: Vec::new() };
            "Received: from x\n\tby y\nA: b\n".as_bytes().chunks(cut).for_each(|piece| {
                hash.write_all(piece).unwrap();
            });
            assert_eq!(hash.sha.finalize(), Sha256::new_with_prefix("A: b\n").finalize(), "{cut}");
        }
    }
}
