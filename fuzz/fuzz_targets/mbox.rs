//! mbox, against a slow reading of its lines as mboxrd has them: any file is read as that says or refused, sizes are
//! those of the bytes sent, and UPDATE leaves the kept letters byte for byte; what is written is read back.
#![no_main]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use forklore_fuzz::{option, scratch, with_crlf, write_private};
use libfuzzer_sys::fuzz_target;
use mailstore::{
    Folder, LetterText, LockedMbox, Maildrop, MboxIds, Spool, SpoolAt, WireSize, append_to_mbox,
};

/// How a letter begins.
const SEPARATOR: &[u8] = b"From ";
/// Bytes of a line that decide whether it is quoted.
const DECIDING: usize = 1024;
/// Sizes of the pieces in which files are read, behind which an input may be laid, in bytes.
const PIECES: [usize; 2] = [32 * 1024, 128 * 1024];
/// From this size on a file is not read byte by byte, in bytes.
const LARGE: usize = 8192;
/// Bytes before the end of a piece.
const BEFORE: usize = 64;

fuzz_target!(|data: &[u8]| {
    let site = Site::get();
    let (choice, rest) = option(data);
    if choice & 1 == 0 { site.read_any(choice >> 1, rest) } else { site.write_and_read(rest) }
});

struct Site {
    folder: Folder,
    path: PathBuf,
    owner: u32,
}

impl Site {
    fn get() -> &'static Site {
        static SITE: OnceLock<Site> = OnceLock::new();
        SITE.get_or_init(|| {
            let folder = scratch("mbox");
            let owner = fs::metadata(&folder).expect("it was made").uid();
            let path = folder.join("mbox");
            Site { folder: Folder::open(&folder).expect("a folder of ours"), path, owner }
        })
    }

    fn open(&self, ids: MboxIds) -> mailstore::Result<Maildrop> {
        let spool = Spool::new(&self.folder, OsStr::new("mbox"), self.owner)?;
        LockedMbox::lock(SpoolAt::Here(Box::new(spool)))?.read(ids)
    }

    /// Any bytes as the file; the first of them say which letters are removed.
    fn read_any(&self, choice: u8, data: &[u8]) {
        let (marks, rest) = option(data);
        let file = laid(choice, rest);
        write_private(&self.path, &file);
        let ids = if choice & 1 == 0 { MboxIds::Content } else { MboxIds::Popa3d };
        let expected = letters(&file);
        let (mut drop, expected) = match (self.open(ids), expected) {
            (Ok(drop), Some(expected)) => (drop, expected),
            (Err(mailstore::Error::Temporary(_)), None) => return,
            (opened, expected) => panic!("{:?}, {:?}", opened.err(), expected.is_some()),
        };
        assert_eq!(drop.len(), expected.len());
        let mut uids = Vec::new();
        for (index, letter) in expected.iter().enumerate() {
            judge(
                &mut drop,
                index,
                &letter.text,
                usize::from(marks) + if file.len() > LARGE { LARGE } else { 1 },
            );
            uids.push(drop.uid(index).expect("it is there"));
        }
        for (index, uid) in uids.iter().enumerate() {
            assert!((1..=70).contains(&uid.len()) && uid.iter().all(u8::is_ascii_graphic));
            assert!(!uids[..index].contains(uid), "one id, two letters");
        }
        let is_kept = |index: usize| index >= 8 || marks & 1 << index == 0;
        let removal = drop.remove((0..expected.len()).filter(|index| !is_kept(*index)));
        assert!(removal.failed.is_empty(), "{:?}", removal.failed);
        std::mem::drop(drop);
        let kept: Vec<_> =
            expected.iter().enumerate().filter(|(index, _)| is_kept(*index)).collect();
        let left: Vec<u8> = kept.iter().flat_map(|(_, letter)| letter.whole.to_vec()).collect();
        // Of letters that share an id, those that are left note their numbers.
        let after = fs::read(&self.path).expect("it is there");
        assert_eq!(without_numbers(&after), without_numbers(&left));
        let mut again = self.open(ids).expect("what UPDATE has written");
        assert_eq!(again.len(), kept.len());
        for (number, (index, letter)) in kept.into_iter().enumerate() {
            judge_but_numbers(&mut again, number, &letter.text);
            let has_twin = uids[index].contains(&b'.')
                || expected.iter().filter(|it| it.whole == letter.whole).count() > 1;
            // The same id in each session; of letters that are one byte for byte, any has the first one's.
            assert!(
                has_twin || twins(&uids, index) || again.uid(number).as_ref() == Some(&uids[index])
            );
        }
    }

    /// Letters between NULs are appended, and read back.
    fn write_and_read(&self, data: &[u8]) {
        if data.windows(DECIDING - 8).any(|part| part.iter().all(|&byte| byte == b'>')) {
            return; // more quotation marks than are looked at
        }
        write_private(&self.path, b"");
        let mut letters: Vec<&[u8]> = data.split(|&byte| byte == 0).collect();
        let expected: Vec<Vec<u8>> = letters.iter().map(|letter| with_end(letter)).collect();
        let line = b"From levy Mon Nov 30 11:17:04 2026";
        let (folder, name) = self.path.parent().zip(self.path.file_name()).expect("a file");
        let folder = Folder::open(folder).expect("the folder");
        append_to_mbox(&folder, name, line, &mut letters, Duration::from_secs(1))
            .expect("it can be written");
        let mut drop = self.open(MboxIds::Content).expect("what we have written");
        assert_eq!(drop.len(), expected.len());
        for (index, letter) in expected.iter().enumerate() {
            judge(&mut drop, index, letter, 7);
        }
    }
}

/// Whether another letter has this id but for its number.
fn twins(uids: &[Vec<u8>], index: usize) -> bool {
    let numbered = [&uids[index][..], b"."].concat();
    uids.iter().any(|uid| uid.starts_with(&numbered))
}

/// Leaves out the fields that note the numbers of letters which share an id.
fn without_numbers(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    let is_number = |line: &&[u8]| line.to_ascii_lowercase().starts_with(b"x-uidl-number");
    lines.filter(|line| !is_number(line)).flatten().copied().collect()
}

/// Compares a letter's text but for such a field, and its size.
fn judge_but_numbers(drop: &mut Maildrop, index: usize, expected: &[u8]) {
    let mut text = Vec::new();
    read_all(drop.read(index).expect("it can be read"), usize::MAX, &mut text);
    assert_eq!(without_numbers(&text), without_numbers(expected), "letter {}", index + 1);
    assert_eq!(drop.size(index).expect("it is known"), with_crlf(&text).len() as u64);
}

/// Reads a letter in pieces of this size, and compares text and sizes.
fn judge(drop: &mut Maildrop, index: usize, expected: &[u8], piece: usize) {
    let mut text = Vec::new();
    read_all(drop.read(index).expect("it can be read"), piece, &mut text);
    assert_eq!(text, expected, "letter {}", index + 1);
    let wire = with_crlf(&text).len() as u64;
    assert_eq!(drop.size(index).expect("it is known"), wire);
    assert_eq!(drop.known_size(index), Some(wire));
    assert_eq!(WireSize::of_file(&text[..]).expect("bytes"), wire);
}

fn read_all(mut from: LetterText, piece: usize, out: &mut Vec<u8>) {
    let mut buffer = vec![0; piece.min(64 * 1024)];
    loop {
        match from.read(&mut buffer).expect("no other program changes it") {
            0 => return,
            count => out.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Lays the bytes behind a letter, or within one, so that a piece of the file ends among them.
fn laid(choice: u8, data: &[u8]) -> Vec<u8> {
    let Some(piece) = PIECES.get(usize::from(choice >> 1 & 3)) else { return data.to_vec() };
    let mut file = b"From levy\n".to_vec();
    file.resize(piece - BEFORE, b'x');
    file.push(b'\n');
    file.extend_from_slice(data);
    file
}

struct Letter<'a> {
    /// With its separator and the blank line behind it.
    whole: &'a [u8],
    text: Vec<u8>,
}

/// Reads a file as mboxrd; `None` for what is none.
fn letters(mut file: &[u8]) -> Option<Vec<Letter<'_>>> {
    let mut letters = Vec::new();
    while !file.is_empty() {
        if !file.starts_with(SEPARATOR) {
            return None;
        }
        let (mut end, mut is_after_blank) = (0, false);
        for (number, line) in file.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if is_after_blank && line.starts_with(SEPARATOR) {
                break;
            }
            is_after_blank = number > 0 && matches!(line, b"\n" | b"\r\n");
            end += line.len();
        }
        let (whole, rest) = file.split_at(end);
        letters.push(Letter { whole, text: text(whole) });
        file = rest;
    }
    Some(letters)
}

/// The text of a letter: without separator, quotation marks, and the blank line behind it.
fn text(whole: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').skip(1).collect();
    if matches!(lines.last(), Some(&(b"\n" | b"\r\n"))) {
        lines.pop();
    }
    lines
        .into_iter()
        .flat_map(|line| if is_quoted(line) { &line[1..] } else { line })
        .copied()
        .collect()
}

fn is_quoted(line: &[u8]) -> bool {
    let line = &line[..line.len().min(DECIDING)];
    let marks = line.iter().take_while(|&&byte| byte == b'>').count();
    marks > 0 && line[marks..].starts_with(SEPARATOR)
}

fn with_end(letter: &[u8]) -> Vec<u8> {
    let end: &[u8] = if letter.is_empty() || letter.ends_with(b"\n") { b"" } else { b"\n" };
    [letter, end].concat()
}
