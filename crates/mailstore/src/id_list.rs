//! The unique ids that another POP3 server has given to the letters of a Maildir, as its file there has them.
//!
//! Dovecot's `dovecot-uidlist`, in version 3 of its format:
//! ```text
//! 3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//! 25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394
//! 25017 W2481 Pold-id :1276533073.M242911P3632.kurkku
//! ```
//! The header has the UIDVALIDITY (V) and the next UID (N), a line the UID of a letter, fields, and its name. Its id
//! is what the field P has, or both numbers in hexadecimal, as Dovecot's `pop3_uidl_format` is by default.
//!
//! Courier's `courierpop3dsizelist`, in versions 2 and 3:
//! ```text
//! /3 7 1275660208
//! 1276528487.M364837P9451.kurkku:2,S 1394 5:1275660208:0
//! ```
//! The header has the next number and the UIDVALIDITY, a line a letter's name, its size and its number.

use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;

use crate::file_name::{self, base, hash};

/// The ids of a file. A letter is named by its name before the flags.
#[derive(Debug, Default)]
pub(crate) struct IdList {
    file: Vec<u8>,
    /// In the order of the names' hashes.
    entries: Vec<Entry>,
    /// Of Dovecot's list: what a new line of it continues.
    pub(crate) next: Option<Next>,
    /// A letter has the id of one before it.
    has_repeated: bool,
}

/// What Dovecot gives to the next letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// The version of the format, 1 or 3.
    pub(crate) version: u8,
    pub(crate) uid_validity: u32,
    pub(crate) uid: u32,
}

impl Next {
    /// Returns what stands before the name in the line of a letter.
    pub(crate) fn line_start(self, uid: u32) -> String {
        // Version 1 has no fields, which `:` ends.
        if self.version == 1 { format!("{uid} ") } else { format!("{uid} :") }
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    /// Where the name is in the file.
    name: Range<usize>,
    id: Id,
    /// A letter before it has this id, too.
    is_repeated: bool,
}

#[derive(Debug, Clone)]
enum Id {
    /// Dovecot's UID, or Courier's number, and the UIDVALIDITY.
    Dovecot(u32, u32),
    Courier(u64, u64),
    /// Where the id is in the file.
    Text(Range<usize>),
}

impl IdList {
    /// Reads Dovecot's list.
    ///
    /// # Errors
    /// The number of the first line that is wrong. Dovecot would give all letters new UIDs then.
    pub(crate) fn dovecot(file: Vec<u8>) -> Result<IdList, usize> {
        let mut lines = lines(&file);
        let header = lines.next().and_then(|line| file.get(line)).ok_or(1_usize)?;
        let (version, mut next) = dovecot_header(header).ok_or(1_usize)?;
        let mut entries = Vec::new();
        let mut last = 0;
        for (number, line) in (2..).zip(lines) {
            let (uid, entry) =
                dovecot_line(&file, line, version, next.uid_validity).ok_or(number)?;
            if uid <= last || uid == u32::MAX {
                return Err(number);
            }
            last = uid;
            entries.push(entry);
        }
        next.uid = next.uid.max(last + 1);
        Ok(IdList::new(file, entries, Some(next)))
    }

    /// Reads Courier's list. A line that is wrong is skipped, as Courier does.
    ///
    /// # Errors
    /// 1, if the header is wrong.
    pub(crate) fn courier(file: Vec<u8>) -> Result<IdList, usize> {
        let mut lines = lines(&file);
        let header = lines.next().and_then(|line| file.get(line)).ok_or(1_usize)?;
        let mut words = header.split(|&b| b == b' ');
        if !matches!(words.next(), Some(b"/2" | b"/3")) || words.next().is_none() {
            return Err(1);
        }
        let entries = lines.filter_map(|line| courier_line(&file, line)).collect();
        Ok(IdList::new(file, entries, None))
    }

    fn new(file: Vec<u8>, entries: Vec<Entry>, next: Option<Next>) -> IdList {
        let mut list = IdList { file, entries, next, has_repeated: false };
        list.mark_repeated();
        list.entries.sort_by_key(|entry| entry.hash);
        list
    }

    /// Marks the letters whose id is that of an earlier line, as fields P can have it that were taken over from
    /// several servers, and a list of Courier's that was put together from two. Dovecot's numbers are all different.
    fn mark_repeated(&mut self) {
        if self.entries.iter().all(|entry| matches!(entry.id, Id::Dovecot(..))) {
            return;
        }
        let name = |entry: &Entry| self.file.get(entry.name.clone()).unwrap_or_default();
        let mut seen = HashMap::with_capacity(self.entries.len());
        let repeated: Vec<bool> = self
            .entries
            .iter()
            .map(|entry| *seen.entry(self.id_of(entry)).or_insert(name(entry)) != name(entry))
            .collect();
        for (entry, is_repeated) in self.entries.iter_mut().zip(repeated) {
            entry.is_repeated = is_repeated;
            self.has_repeated |= is_repeated;
        }
    }

    /// Returns whether there is a letter that is [`IdList::is_repeated`].
    pub(crate) fn has_repeated(&self) -> bool {
        self.has_repeated
    }

    /// Returns whether the id of a letter belongs to one that came before it.
    pub(crate) fn is_repeated(&self, letter: &[u8]) -> bool {
        self.find(letter).is_some_and(|entry| entry.is_repeated)
    }

    /// Whether the last line is whole, so that another can follow.
    pub(crate) fn is_whole(&self) -> bool {
        self.file.ends_with(b"\n")
    }

    /// Returns whether the file has a letter.
    pub(crate) fn has(&self, letter: &[u8]) -> bool {
        self.find(letter).is_some()
    }

    /// Of two lines with one name the last counts.
    fn find(&self, letter: &[u8]) -> Option<&Entry> {
        let hash = hash(letter);
        let start = self.entries.partition_point(|entry| entry.hash < hash);
        let same = self.entries.get(start..)?.iter().take_while(|entry| entry.hash == hash);
        same.filter(|it| self.file.get(it.name.clone()) == Some(letter)).last()
    }

    /// Returns the id of a letter, `None` if the file does not have it.
    pub(crate) fn get(&self, letter: &[u8]) -> Option<Vec<u8>> {
        self.find(letter).map(|entry| self.id_of(entry))
    }

    fn id_of(&self, entry: &Entry) -> Vec<u8> {
        let letter = self.file.get(entry.name.clone()).unwrap_or_default();
        match &entry.id {
            Id::Dovecot(uid, validity) => dovecot_id(*uid, *validity),
            Id::Courier(0, _) => courier_name(letter),
            Id::Courier(number, 0) => format!("UID{number}").into_bytes(),
            Id::Courier(number, validity) => format!("UID{number}-{validity}").into_bytes(),
            Id::Text(at) => match self.file.get(at.clone()).unwrap_or_default() {
                b"" => file_name::uid(letter, None), // in Dovecot's list: the name
                text => file_name::uid(text, None),
            },
        }
    }
}

/// Returns the id that Dovecot forms of these, by `pop3_uidl_format = %08Xu%08Xv`.
pub(crate) fn dovecot_id(uid: u32, validity: u32) -> Vec<u8> {
    format!("{uid:08x}{validity:08x}").into_bytes()
}

/// Where the lines are, without their ends. A last line without its end is none: its writer was interrupted.
fn lines(file: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    file.split_inclusive(|&b| b == b'\n').filter_map(move |line| {
        let from = start;
        start += line.len();
        line.ends_with(b"\n").then(|| from..from + line.len() - 1)
    })
}

fn parsed<T: FromStr>(digits: &[u8]) -> Option<T> {
    digits.first().filter(|b| b.is_ascii_digit())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns the version and what comes next.
fn dovecot_header(line: &[u8]) -> Option<(u8, Next)> {
    let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let (mut validity, mut uid) = (None, None);
    let version = match words.next()? {
        b"1" => {
            (validity, uid) = (words.next().and_then(parsed), words.next().and_then(parsed));
            1
        }
        b"3" => {
            for word in words {
                match word.split_first()? {
                    (b'V', value) => validity = parsed(value),
                    (b'N', value) => uid = parsed(value),
                    _ => {}
                }
            }
            3
        }
        _ => return None,
    };
    let (uid_validity, uid) = (validity.filter(|it| *it != 0)?, uid.filter(|it| *it != 0)?);
    Some((version, Next { version, uid_validity, uid }))
}

/// Returns the UID and the entry of a line.
fn dovecot_line(
    file: &[u8],
    line: Range<usize>,
    version: u8,
    validity: u32,
) -> Option<(u32, Entry)> {
    let text = file.get(line.clone())?;
    let space = text.iter().position(|&b| b == b' ')?;
    let uid: u32 = parsed(text.get(..space)?)?;
    let mut id = Id::Dovecot(uid, validity);
    let mut at = space + 1;
    if version == 3 {
        while text.get(at) != Some(&b':') {
            let field = text.get(at..)?;
            let length = field.iter().position(|&b| b == b' ')?;
            if field.first() == Some(&b'P') {
                id = Id::Text(line.start + at + 1..line.start + at + length);
            }
            at += length + 1;
        }
        at += 1;
    }
    let name = text.get(at..)?;
    if name.is_empty() || name.contains(&b'/') {
        return None;
    }
    let start = line.start + at;
    let name = start..start + base(name).len();
    Some((uid, Entry { hash: hash(file.get(name.clone())?), name, id, is_repeated: false }))
}

fn courier_line(file: &[u8], line: Range<usize>) -> Option<Entry> {
    let text = file.get(line.clone())?;
    let mut words = text.rsplitn(3, |&b| b == b' ');
    let (numbers, _size, name) = (words.next()?, words.next()?, words.next()?);
    let mut numbers = numbers.split(|&b| b == b':');
    let id = Id::Courier(numbers.next().and_then(parsed)?, numbers.next().and_then(parsed)?);
    let name = line.start..line.start + base(name).len();
    Some(Entry { hash: hash(file.get(name.clone())?), name, id, is_repeated: false })
}

/// Returns the id that the first versions of Courier's list stand for: the name, with `+` before the number of each
/// character that no id may have.
fn courier_name(letter: &[u8]) -> Vec<u8> {
    let mut id = Vec::with_capacity(letter.len());
    for &byte in letter {
        match byte {
            b'\'' | b'"' | b'+' => id.extend_from_slice(format!("+{byte:02X}").as_bytes()),
            byte if byte.is_ascii_graphic() => id.push(byte),
            byte => id.extend_from_slice(format!("+{byte:02X}").as_bytes()),
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOVECOT: &str = "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n\
        25006 :1.M3P4.h,S=1355,W=1394\n\
        25017 W2481 Pold-id O7 :2.a.h\n\
        25018 P :3.a.h\n\
        25019 S5 P<>%\u{e4} :4.a.h:2,S\n";

    fn id(list: &IdList, letter: &str) -> Option<String> {
        list.get(letter.as_bytes()).map(|id| String::from_utf8(id).unwrap())
    }

    fn dovecot(file: &str) -> IdList {
        IdList::dovecot(file.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn dovecots_ids_are_uid_and_uid_validity_or_what_the_field_p_has() {
        let list = dovecot(DOVECOT);
        assert_eq!(id(&list, "1.M3P4.h,S=1355,W=1394").unwrap(), "000061ae4c0907b0");
        assert_eq!(id(&list, "2.a.h").unwrap(), "old-id");
        assert_eq!(id(&list, "3.a.h").unwrap(), "3.a.h");
        assert_eq!(id(&list, "4.a.h").unwrap().len(), 32, "what is no id is digested");
        assert_eq!(id(&list, "5.a.h"), None);
        assert_eq!(list.next, Some(Next { version: 3, uid_validity: 1_275_660_208, uid: 25_022 }));
        assert!(list.is_whole());
    }

    #[test]
    fn lines_that_were_added_count_more_than_the_header_and_older_lines() {
        let list = dovecot("3 V7 N2\n1 :1.a\n2 :2.a\n9 :1.a\n10 :3.a");
        assert_eq!(list.next.unwrap().uid, 10, "the last line is not whole");
        assert!(!list.is_whole());
        assert_eq!(id(&list, "1.a").unwrap(), "0000000900000007");
        assert_eq!(id(&list, "3.a"), None);
    }

    #[test]
    fn of_two_letters_with_one_id_the_first_has_it() {
        let list =
            dovecot("3 V7 N9\n1 Px :1.a\n2 Py :2.a\n3 Px :3.a\n4 P0000000600000007 :4.a\n6 :6.a\n");
        let repeated =
            ["1.a", "2.a", "3.a", "4.a", "6.a"].map(|it| list.is_repeated(it.as_bytes()));
        assert_eq!((list.has_repeated(), repeated), (true, [false, false, true, false, true]));
        assert!(!dovecot("3 V7 N9\n1 Px :1.a\n2 Px :1.a\n3 P :3.a\n").has_repeated(), "one letter");
    }

    #[test]
    fn version_one_of_dovecots_list_is_read() {
        let list = dovecot("1 1275660208 3\n1 1.a.h\n2 2.a.h:2,S\n");
        assert_eq!(id(&list, "2.a.h").unwrap(), "000000024c0907b0");
    }

    #[test]
    fn a_list_that_dovecot_would_not_take_is_not_taken() {
        for (file, line) in [
            ("", 1),
            ("3 V1 N1", 1),
            ("3 V0 N1\n", 1),
            ("3 V1\n", 1),
            ("3 V1 Nx\n", 1),
            ("2 V1 N1\n", 1),
            ("3 V1 N3\n1 :a\n1 :b\n", 3),
            ("3 V1 N3\n2 :a\n1 :b\n", 3),
            ("3 V1 N3\n0 :a\n", 2),
            ("3 V1 N3\nx :a\n", 2),
            ("3 V1 N3\n1 :\n", 2),
            ("3 V1 N3\n1 W5\n", 2),
            ("3 V1 N3\n1\n", 2),
            ("3 V1 N3\n1 :a/b\n", 2),
            ("3 V1 N3\n4294967295 :a\n", 2),
            ("3 V1 N3\n4294967296 :a\n", 2),
            ("3 V1 N3\n\n", 2),
        ] {
            let list = IdList::dovecot(file.as_bytes().to_vec());
            assert_eq!(list.err(), Some(line), "{file:?}");
        }
    }

    #[test]
    fn couriers_ids_are_its_number_and_uid_validity() {
        let list =
            "/3 7 99\n1.a.h:2,S 10 5:99:0\n2.a b.h 10 6:0:1\n3.'a+.h 10 0:0:0\nbad\n4.a 9 x\n";
        let list = IdList::courier(list.as_bytes().to_vec()).unwrap();
        assert_eq!(id(&list, "1.a.h").unwrap(), "UID5-99");
        assert_eq!(id(&list, "2.a b.h").unwrap(), "UID6");
        assert_eq!(id(&list, "3.'a+.h").unwrap(), "3.+27a+2B.h");
        assert_eq!(id(&list, "4.a"), None);
        let list = IdList::courier(b"/2 7 99\n1.a.h:2, 10 5:99\n".to_vec()).unwrap();
        assert_eq!(id(&list, "1.a.h").unwrap(), "UID5-99");
        let list = b"/3 7 99\n1.a 9 5:99:0\n2.a 9 5:99:0\n3.a 9 0:0:0\n4.a 9 0:0:0\n".to_vec();
        let list = IdList::courier(list).unwrap();
        let repeated = ["1.a", "2.a", "3.a", "4.a"].map(|it| list.is_repeated(it.as_bytes()));
        assert_eq!(repeated, [false, true, false, false]);
        for wrong in ["", "/1 7\n", "/3\n", "/3 7", "3 V1 N1\n"] {
            assert!(IdList::courier(wrong.as_bytes().to_vec()).is_err(), "{wrong:?}");
        }
    }
}
