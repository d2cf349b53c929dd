//! What a server may answer the client of SMTP: any bytes, in pieces of any size, which make no difference. A reply is
//! what a slow reader of RFC 5321 §4.2 takes for one, and nothing of it reaches a terminal as it is.
#![no_main]

use forklore_fuzz::{Wire, option};
use libfuzzer_sys::fuzz_target;
use netascii::line::{Line, LineReader};
use smtpclient::{Enhanced, Extensions, Reply, ReplyLines};

/// Longest line, most lines and longest reply of the client.
const LONGEST_LINE: usize = 4096;
const MOST_LINES: usize = 200;

fuzz_target!(|data: &[u8]| {
    let (piece, bytes) = option(data);
    let (replies, is_whole) = read(bytes, usize::MAX);
    assert_eq!(
        (replies.clone(), is_whole),
        read(bytes, usize::from(piece)),
        "in pieces of {piece}"
    );
    assert_eq!((shown(&replies), is_whole), slowly(bytes));
    for reply in &replies {
        let text = reply.to_string();
        assert!(!text.chars().any(|it| it.is_control() && it != '\t'), "{text:?}");
        if let Some(found) = reply.enhanced() {
            assert_eq!(u16::from(found.class), reply.code() / 100);
            assert_eq!(Enhanced::parse(&found.to_string()), Some(found));
        }
        let offered = Extensions::parse(reply.lines());
        assert_eq!(offered.size.is_some(), reply.lines().any(|line| is_word(line, "SIZE")));
    }
});

fn is_word(line: &str, word: &str) -> bool {
    line.split_ascii_whitespace().next().is_some_and(|first| first.eq_ignore_ascii_case(word))
}

/// Returns the replies, and whether nothing else came.
fn read(bytes: &[u8], piece: usize) -> (Vec<Reply>, bool) {
    let (mut reader, mut replies) = (LineReader::new(Wire::new(bytes, piece)), Vec::new());
    let mut lines = ReplyLines::default();
    loop {
        match reader.read_line(LONGEST_LINE).expect("memory does not fail") {
            Line::Text(line) => match lines.add(line) {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    replies.push(reply);
                    lines = ReplyLines::default();
                }
                Err(_) => return (replies, false),
            },
            Line::TooLong => return (replies, false),
            Line::Eof => return (replies, true),
        }
    }
}

fn shown(replies: &[Reply]) -> Vec<(u16, usize)> {
    replies.iter().map(|reply| (reply.code(), reply.lines().count())).collect()
}

/// Code and number of lines of each reply, byte by byte.
fn slowly(bytes: &[u8]) -> (Vec<(u16, usize)>, bool) {
    let mut replies = Vec::new();
    let (mut code, mut count) = (None, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let number = match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return (replies, false),
        };
        if code.is_some_and(|code| code != number) {
            return (replies, false);
        }
        (code, count) = (Some(number), count + 1);
        match line.get(3) {
            Some(b'-') if count < MOST_LINES => {}
            None | Some(b' ') => {
                replies.push((number, count));
                (code, count) = (None, 0);
            }
            _ => return (replies, false),
        }
    }
    (replies, true)
}
