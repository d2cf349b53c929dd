//! The letters of an mbox: where each lies, its size on the wire and its id, found in one reading.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use md5::{Digest, Md5};
use sha2::Sha256;

use crate::error::{Error, Result};
use crate::mbox::format::{
    NUMBER, Quoting, is_blank, is_changing, is_continued, is_separator, value_of,
};
use crate::mbox::lines::{Line, Lines};

/// Most letters of an mbox: more would not fit into the memory of a session.
const MAX_LETTERS: usize = 2_000_000;
/// Bytes of the digest of a letter's content.
const CONTENT: usize = 16;
/// Bytes of an id of popa3d.
const POPA3D: usize = 8;

/// What a letter's id is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MboxIds {
    /// A digest of the letter and its separator, without the fields that mail readers change.
    #[default]
    Content,
    /// As popa3d has it: a digest of the fields that tell of the delivery.
    Popa3d,
}

/// A letter in an mbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The place of its separator.
    pub(crate) start: u64,
    /// The place of its text, and of the end of that. A blank line may follow, which is no part of it.
    pub(crate) text: Range<u64>,
    /// Size with CRLF line ends and without quotation marks.
    pub(crate) octets: u64,
    /// Digest of the content.
    content: [u8; CONTENT],
    id: Id,
    /// Number among the letters that have the same id, from 1.
    number: u32,
    /// What the field [`NUMBER`] says of it.
    noted: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Id {
    Content([u8; CONTENT]),
    Popa3d([u8; POPA3D]),
}

impl Letter {
    /// Returns the unique id (RFC 1939 §7).
    pub(crate) fn uid(&self) -> Vec<u8> {
        let mut uid = Vec::with_capacity(2 * CONTENT);
        match &self.id {
            Id::Content(digest) => digest.iter().for_each(|byte| push_hex(&mut uid, *byte)),
            // Two numbers of four bytes, each with its low byte first.
            Id::Popa3d(digest) => {
                let bytes = digest.chunks(4).flat_map(|number| number.iter().rev());
                bytes.for_each(|byte| push_hex(&mut uid, *byte));
            }
        }
        if self.number > 1 {
            uid.extend_from_slice(format!(".{}", self.number).as_bytes());
        }
        uid
    }

    /// Returns whether this is the same letter at the same place.
    pub(crate) fn is_same(&self, other: &Letter) -> bool {
        let place = |it: &Letter| (it.start, it.text.clone(), it.octets, it.content);
        place(self) == place(other)
    }
}

fn push_hex(text: &mut Vec<u8>, byte: u8) {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    text.extend([digit(byte >> 4), digit(byte & 15)]);
}

/// Finds the letters in a part of a file that begins with a separator, or is empty.
///
/// # Errors
/// [`Error::Io`]; [`Error::Temporary`] where the file is no mbox.
pub(crate) fn index(
    (file, path): (&File, &Path),
    part: Range<u64>,
    ids: MboxIds,
) -> Result<Vec<Letter>> {
    let mut lines = Lines::new(file, part);
    let mut indexer = Indexer::new(ids);
    while let Some(line) = lines.next().map_err(Error::io("read", path))? {
        if let Err(why) = indexer.line(&line) {
            return Err(Error::Temporary(format!("{}: {why}", path.display())));
        }
    }
    indexer.finish();
    let mut letters = indexer.letters;
    number_twins(&mut letters);
    Ok(letters)
}

/// Numbers the letters that have one id, in their order: as it was noted, else by the next number.
fn number_twins(letters: &mut [Letter]) {
    let mut last: HashMap<Id, u32> = HashMap::with_capacity(letters.len());
    for letter in letters {
        let last = last.entry(letter.id).or_default();
        letter.number = letter.noted.filter(|noted| noted > last).unwrap_or(*last + 1);
        *last = letter.number;
    }
}

/// Returns the numbers that have to be noted in the letters that are not `marked`, so that they keep their ids when those
/// that are marked are gone: `None` for most letters.
pub(crate) fn notes(letters: &[Letter], marked: &[bool]) -> Vec<Option<u32>> {
    let mut gone = HashSet::new();
    let note = |(letter, is_gone): (&Letter, &bool)| {
        if *is_gone {
            gone.insert(letter.id);
            return None;
        }
        let is_noted = letter.number == 1 || letter.noted == Some(letter.number);
        (!is_noted && gone.contains(&letter.id)).then_some(letter.number)
    };
    letters.iter().zip(marked).map(note).collect()
}

struct Indexer {
    ids: MboxIds,
    letters: Vec<Letter>,
    /// The letter that is being read.
    open: Option<Open>,
    /// The line before was blank, or there was none.
    is_after_blank: bool,
}

/// A letter of which lines may follow.
struct Open {
    letter: Letter,
    digest: LetterDigest,
    place: Place,
    /// Bytes of the blank line before the next one: it belongs to the letter only if another line does.
    blank: usize,
    /// The last line has no end yet.
    is_ragged: bool,
    /// Whether it is quoted.
    quoting: Quoting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Separator,
    Header,
    Body,
}

impl Indexer {
    fn new(ids: MboxIds) -> Indexer {
        Indexer { ids, letters: Vec::new(), open: None, is_after_blank: true }
    }

    fn line(&mut self, line: &Line<'_>) -> std::result::Result<(), &'static str> {
        if self.is_after_blank && line.is_start && is_separator(line.bytes) {
            self.finish();
            if self.letters.len() >= MAX_LETTERS {
                return Err("too many letters");
            }
            self.open = Some(Open::new(line, self.ids));
            self.is_after_blank = false;
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            return Err("does not begin with \"From \", which an mbox does");
        };
        self.is_after_blank =
            line.is_start && open.place != Place::Separator && is_blank(line.bytes);
        open.add(line, self.is_after_blank);
        Ok(())
    }

    fn finish(&mut self) {
        self.letters.extend(self.open.take().map(Open::finish));
    }
}

impl Open {
    fn new(line: &Line<'_>, ids: MboxIds) -> Open {
        let end = line.offset + line.bytes.len() as u64;
        let (start, content) = (line.offset, [0; CONTENT]);
        let (text, id) = (end..end, Id::Content(content));
        let letter = Letter { start, text, octets: 0, content, id, number: 1, noted: None };
        let mut digest = LetterDigest::new(ids);
        digest.bytes(line.bytes);
        let is_whole = line.bytes.ends_with(b"\n");
        let place = if is_whole { Place::Header } else { Place::Separator };
        Open { letter, digest, place, blank: 0, is_ragged: false, quoting: Quoting::Plain }
    }

    fn add(&mut self, line: &Line<'_>, is_blank: bool) {
        let length = line.bytes.len() as u64;
        if self.place == Place::Separator {
            self.digest.bytes(line.bytes);
            self.letter.text = line.offset + length..line.offset + length;
            if line.bytes.ends_with(b"\n") {
                self.place = Place::Header;
            }
            return;
        }
        if self.blank > 0 {
            self.letter.octets += 2;
            self.letter.text.end += self.blank as u64;
            self.digest.bytes(b"\n");
            self.blank = 0;
        }
        if is_blank {
            self.blank = line.bytes.len();
            self.place = Place::Body;
            return;
        }
        self.letter.text.end += length;
        let is_lf_alone = line.bytes.ends_with(b"\n") && !line.bytes.ends_with(b"\r\n");
        self.letter.octets += length + u64::from(is_lf_alone);
        let before = if line.is_start { Quoting::START } else { self.quoting };
        self.quoting = before.with(line.bytes);
        let has_lost_mark = self.quoting == Quoting::Quoted && before != Quoting::Quoted;
        self.letter.octets -= u64::from(has_lost_mark);
        self.is_ragged = !line.bytes.ends_with(b"\n");
        match self.place {
            Place::Header => {
                self.letter.noted = self.letter.noted.or_else(|| noted(line));
                self.digest.header(line);
            }
            _ => self.digest.bytes(line.bytes),
        }
    }

    fn finish(mut self) -> Letter {
        if self.is_ragged {
            self.letter.octets += 2; // the end that a multi-line reply gives it
            self.digest.bytes(b"\n");
        }
        (self.letter.content, self.letter.id) = self.digest.finish();
        self.letter
    }
}

/// Returns the number that a header line notes.
fn noted(line: &Line<'_>) -> Option<u32> {
    let digits = value_of(line.bytes, NUMBER).filter(|_| line.is_start)?.trim_ascii();
    // Few digits: whatever a sender has written, more letters can follow.
    let is_number = digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// Digests what makes a letter that letter.
struct LetterDigest {
    /// All but the fields that mail readers change. Line ends count as LF.
    content: Sha256,
    /// The field is one of those.
    is_changing: bool,
    popa3d: Option<Popa3d>,
}

/// Digests the fields that popa3d takes.
#[derive(Default)]
struct Popa3d {
    hash: Md5,
    /// The field is one of them.
    is_taken: bool,
    has_any: bool,
    has_received: bool,
}

impl LetterDigest {
    fn new(ids: MboxIds) -> LetterDigest {
        let popa3d = (ids == MboxIds::Popa3d).then(Popa3d::default);
        LetterDigest { content: Sha256::new(), is_changing: false, popa3d }
    }

    fn header(&mut self, line: &Line<'_>) {
        let starts_field = line.is_start && !is_continued(line.bytes);
        if starts_field {
            self.is_changing = is_changing(line.bytes);
        }
        if !self.is_changing {
            self.bytes(line.bytes);
        }
        if let Some(popa3d) = &mut self.popa3d {
            popa3d.header(line.bytes, starts_field);
        }
    }

    fn bytes(&mut self, line: &[u8]) {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                self.content.update(line);
                self.content.update(b"\n");
            }
            None => self.content.update(line),
        }
    }

    /// Returns the digest of the content, and the id.
    fn finish(self) -> ([u8; CONTENT], Id) {
        let mut content = [0; CONTENT];
        for (to, from) in content.iter_mut().zip(self.content.finalize()) {
            *to = from;
        }
        // Without any of the fields popa3d has one id for all letters, which no client can go by.
        let popa3d = self.popa3d.filter(|popa3d| popa3d.has_any).map(|popa3d| {
            let mut id = [0; POPA3D];
            for (to, from) in id.iter_mut().zip(popa3d.hash.finalize()) {
                *to = from;
            }
            id
        });
        (content, popa3d.map_or(Id::Content(content), Id::Popa3d))
    }
}

impl Popa3d {
    fn header(&mut self, line: &[u8], starts_field: bool) {
        if starts_field {
            self.is_taken = self.takes(line);
        }
        if self.is_taken {
            self.has_any = true;
            self.hash.update(line);
        }
    }

    /// Returns whether popa3d takes this field, which the delivery has written and no mail reader changes.
    /// `Date` and `Message-ID` count where no `Received` stands before them.
    fn takes(&mut self, line: &[u8]) -> bool {
        let is = |name: &[u8]| value_of(line, name).is_some();
        if is(b"Received") {
            return !std::mem::replace(&mut self.has_received, true);
        }
        // It looks for a capital X.
        let is_delivery_id = line.starts_with(b"X") && is(b"X-Delivery-ID");
        let is_senders = is(b"Date") || is(b"Message-ID");
        is(b"Delivered-To") || is_delivery_id || (is_senders && !self.has_received)
    }
}

#[cfg(test)]
mod tests;
