use std::io::Read;
use std::sync::Arc;

use super::*;
use crate::mbox::text::Text;
use crate::wire_size::WireSize;
use testkit::TempDir;

/// Writes an mbox as a delivery does: each text with its separator, marks and the blank line after it.
fn mbox_of(texts: &[Vec<u8>], end: &str) -> Vec<u8> {
    let mut mbox = Vec::new();
    for text in texts {
        mbox.extend(format!("From levy Mon Nov 30 11:00:00 2026{end}").into_bytes());
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let marks = line.iter().take_while(|&&byte| byte == b'>').count();
            if line[marks..].starts_with(b"From ") {
                mbox.push(b'>');
            }
            mbox.extend(line);
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            mbox.extend(end.as_bytes());
        }
        mbox.extend(end.as_bytes());
    }
    mbox
}

/// Returns the letters and their texts.
fn read(mbox: &[u8], ids: MboxIds) -> Result<(Vec<Letter>, Vec<Vec<u8>>)> {
    let dir = TempDir::new();
    let path = dir.path().join("mbox");
    std::fs::write(&path, mbox).unwrap();
    let file = Arc::new(File::open(&path).unwrap());
    let letters = index((&file, &path), 0..mbox.len() as u64, ids)?;
    let text = |letter: &Letter| {
        let (mut text, mut piece) = (Vec::new(), [0; 997]);
        let mut from = Text::new(file.clone(), letter.text.clone());
        loop {
            match from.read(&mut piece).unwrap() {
                0 => return text,
                count => text.extend(&piece[..count]),
            }
        }
    };
    let texts = letters.iter().map(text).collect();
    Ok((letters, texts))
}

fn letters_of(mbox: &[u8]) -> Vec<Letter> {
    read(mbox, MboxIds::Content).unwrap().0
}

fn texts_of(mbox: &[u8]) -> Vec<Vec<u8>> {
    read(mbox, MboxIds::Content).unwrap().1
}

/// A generator of numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn every_text_is_read_as_it_was_written() {
    let mut numbers = Numbers(7);
    let long = ">".repeat(30);
    let parts =
        ["From ", "from ", ">", ">>", " ", "x", "\n", "\n", "Status: RO", "\n\n", &long, "\0", "F"];
    for round in 0..400 {
        let end = if round % 2 == 0 { "\n" } else { "\r\n" };
        let text = |numbers: &mut Numbers| -> Vec<u8> {
            let count = numbers.below(30);
            let text: String = (0..count).map(|_| parts[numbers.below(parts.len())]).collect();
            let text = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
            text.replace('\n', end).into_bytes()
        };
        let texts: Vec<Vec<u8>> = (0..numbers.below(6)).map(|_| text(&mut numbers)).collect();
        let mbox = mbox_of(&texts, end);
        let (letters, read) = read(&mbox, MboxIds::Content).unwrap();
        assert!(read == texts, "{}", mbox.escape_ascii());
        for (letter, text) in letters.iter().zip(&texts) {
            let octets = WireSize::of_file(&text[..]).unwrap();
            assert_eq!(letter.octets, octets, "{}", text.escape_ascii());
        }
    }
}

#[test]
fn lines_longer_than_a_read_are_no_trouble() {
    let mut numbers = Numbers(3);
    for end in ["\n", "\r\n"] {
        for length in [0, 65_534, 65_535, 65_536, 131_070, 131_071, 131_072, 300_000] {
            let lead = "y".repeat(numbers.below(40));
            let line = format!("{lead}{}{end}", "x".repeat(length));
            let text = format!("Subject: {line}{end}From {line}>From {line}{line}").into_bytes();
            let texts = vec![text.clone(), b"z\n".to_vec()];
            let mbox = mbox_of(&texts, end);
            let (letters, read) = read(&mbox, MboxIds::Content).unwrap();
            assert!(read == texts);
            assert_eq!(letters[0].octets, WireSize::of_file(&text[..]).unwrap());
            // The id is the same wherever the letter lies.
            let shifted = mbox_of(&[vec![b'a'; 60_001], text], end);
            assert_eq!(letters_of(&shifted)[1].uid(), letters[0].uid());
        }
    }
}

#[test]
fn any_number_of_marks_is_read_as_it_was_written() {
    for length in [1_018, 1_019, 1_020, 1_024, 32_763, 32_768, 65_531, 65_536, 131_072, 300_000] {
        let marks = ">".repeat(length);
        for rest in ["From x\n", "From ", "Fro\n", "\n", "from x\n", ""] {
            let text = format!("Subject: 1\n\n{marks}{rest}{marks}").into_bytes();
            let texts = vec![text.clone(), b"z\n".to_vec()];
            let (letters, read) = read(&mbox_of(&texts, "\n"), MboxIds::Content).unwrap();
            let whole = if text.ends_with(b"\n") { text } else { [&text[..], b"\n"].concat() };
            assert!(read[0] == whole, "{length} {rest:?}");
            assert_eq!(letters[0].octets, WireSize::of_file(&whole[..]).unwrap());
        }
    }
}

#[test]
fn a_separator_stands_at_the_begin_or_behind_a_blank_line() {
    let mbox = b"From a\nS: 1\n\nFrom the body\nFrom b\n\nFrom c\n\n\nFrom d";
    assert_eq!(texts_of(mbox), [&b"S: 1\n"[..], b"From b\n", b"\n", b""]);
    assert!(letters_of(b"").is_empty());
    for wrong in [&b"S: 1\n\nFrom a\n"[..], b"\nFrom a\n", b">From a\n", b"From", b"\0"] {
        let error = read(wrong, MboxIds::Content).unwrap_err();
        assert!(matches!(&error, Error::Temporary(_)), "{error}");
        assert!(
            error.to_string().ends_with("mbox: does not begin with \"From \", which an mbox does")
        );
    }
}

#[test]
fn an_mbox_without_an_end_of_its_last_line_is_read() {
    let letters = letters_of(b"From a\nS: 1\n\nx\n\nFrom b\nS: 2\n\ny");
    assert_eq!(letters[1].octets, 11);
    let ended = letters_of(b"From a\nS: 1\n\nx\n\nFrom b\nS: 2\n\ny\n\n");
    assert_eq!(letters[1].octets, ended[1].octets);
    assert_eq!(letters[1].uid(), ended[1].uid());
}

#[test]
fn an_id_stays_when_flags_change_and_other_letters_go() {
    let plain = letters_of(b"From a\nS: 1\n\nx\n\nFrom b\nS: 2\n\ny\n\n");
    let seen = letters_of(
        b"From b\nStatus: RO\nS: 2\nX-UID: 7\n\t8\nContent-Length: 2\nlines: 1\n\ny\n\n",
    );
    assert_eq!(plain[1].uid(), seen[0].uid());
    assert_eq!(plain[1].uid().len(), 32);
    let crlf = letters_of(b"From b\r\nS: 2\r\n\r\ny\r\n\r\n");
    assert_eq!(plain[1].uid(), crlf[0].uid());
}

#[test]
fn letters_with_equal_bodies_have_different_ids() {
    let letters = letters_of(b"From a 1\n\nx\n\nFrom a 2\n\nx\n\nFrom a 1\n\nx\n\nFrom a 1\n\nx\n");
    let uids: Vec<_> = letters.iter().map(Letter::uid).collect();
    assert_ne!(uids[0], uids[1]);
    assert_eq!(uids[2], [&uids[0][..], b".2"].concat());
    assert_eq!(uids[3], [&uids[0][..], b".3"].concat());
}

#[test]
fn ids_of_popa3d_are_those_of_popa3d() {
    // As popa3d 1.0.3 answers for these letters.
    let mbox = include_bytes!("popa3d.mbox");
    let (letters, _) = read(mbox, MboxIds::Popa3d).unwrap();
    let uids: Vec<String> =
        letters.iter().map(|letter| String::from_utf8(letter.uid()).unwrap()).collect();
    let expected: Vec<&str> = include_str!("popa3d.uidl").lines().collect();
    assert_eq!(uids[..expected.len()], expected);
    // It has one id for all letters without such fields.
    assert_eq!(uids[expected.len()].len(), 32);
}
