//! A second reading of a POP3 session: what a client has sent against what it was answered (RFC 1939, RFC 2449,
//! RFC 5034). It knows no code of the server.

use std::collections::BTreeSet;

use crate::{stuffed, with_crlf};

/// Longest command line and longest response of AUTH, in bytes with the line end (RFC 2449 §4, RFC 5034 §4).
const MAX_COMMAND: usize = 255;
const MAX_RESPONSE: usize = 2048;
/// Longest reply line in bytes with its CRLF (RFC 2449 §4).
const MAX_REPLY: usize = 512;
/// Longest unique id in bytes (RFC 1939 §7).
const MAX_ID: usize = 70;

/// What a session has done.
#[derive(Debug, Default)]
pub struct Ended {
    /// A login was accepted.
    pub logged_in: bool,
    /// Messages that were removed, by their indices: those marked before a QUIT that was answered with +OK.
    pub removed: BTreeSet<usize>,
    /// QUIT was answered.
    pub by_quit: bool,
}

/// Compares a whole session with what RFC 1939 allows. `input` is what was read before each STLS, and after the last;
/// `letters` are those of the maildrop, as on the disk.
///
/// # Panics
/// The server has broken a rule.
#[must_use]
pub fn judge(input: &[&[u8]], output: &[u8], letters: &[Vec<u8>]) -> Ended {
    let mut session = Session { replies: Replies(output), letters, ..Session::default() };
    assert!(session.replies.line().starts_with(b"+OK"), "the greeting");
    for (number, part) in input.iter().enumerate() {
        let is_last = number + 1 == input.len();
        session.has_tls = false;
        let mut rest = *part;
        while let Some((line, next)) = session.next_line(rest) {
            rest = next;
            if session.ended {
                break;
            }
            session.answered(line);
            if session.has_tls {
                assert!(!is_last, "no handshake followed");
                break; // what was read already is dropped
            }
        }
        assert!(is_last || session.has_tls, "a handshake without STLS");
    }
    assert!(
        session.replies.0.is_empty(),
        "replies without commands: {}",
        session.replies.0.escape_ascii()
    );
    let removed = if session.by_quit { session.deleted } else { BTreeSet::new() };
    Ended { logged_in: session.logged_in, removed, by_quit: session.by_quit }
}

/// A line of the client's; `None` is one that is too long.
type Line<'a> = Option<&'a [u8]>;

#[derive(Default)]
struct Session<'a> {
    replies: Replies<'a>,
    letters: &'a [Vec<u8>],
    logged_in: bool,
    awaits_response: bool,
    has_tls: bool,
    ended: bool,
    by_quit: bool,
    deleted: BTreeSet<usize>,
    ids: Vec<Option<Vec<u8>>>,
}

impl<'a> Session<'a> {
    fn next_line<'l>(&self, rest: &'l [u8]) -> Option<(Line<'l>, &'l [u8])> {
        let end = rest.iter().position(|&byte| byte == b'\n')? + 1;
        let (line, rest) = rest.split_at(end);
        let limit = if self.awaits_response { MAX_RESPONSE } else { MAX_COMMAND };
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        Some(((line.len() <= limit).then_some(text), rest))
    }

    /// Reads the reply to a line, and compares it.
    fn answered(&mut self, line: Line<'_>) {
        let first = self.replies.line();
        let is_ok = first.starts_with(b"+OK");
        let was_response = std::mem::take(&mut self.awaits_response);
        if first.starts_with(b"+ ") {
            assert!(!self.logged_in, "a challenge after the login");
            self.awaits_response = true;
            let is_auth = line.is_some_and(|line| keyword(line) == b"AUTH");
            assert!(was_response || is_auth, "a challenge to another command");
            return;
        }
        assert!(is_ok || is(first, b"-ERR"), "no reply: {}", first.escape_ascii());
        if !is_ok && first.ends_with(b"goodbye\r\n") {
            self.ended = true;
            return;
        }
        let Some(line) = line else { return assert!(!is_ok, "a line that is too long was taken") };
        if was_response {
            self.logged_in |= is_ok;
            return;
        }
        self.command(line, first, is_ok);
    }

    fn command(&mut self, line: &[u8], first: &[u8], is_ok: bool) {
        let keyword = keyword(line);
        let arguments: Vec<&[u8]> = arguments(line);
        match (&keyword[..], &arguments[..]) {
            (b"QUIT", []) => (self.ended, self.by_quit) = (true, is_ok),
            _ if !is_ok => {}
            (b"CAPA", _) => drop(self.replies.rows()),
            (b"LANG", []) => drop(self.replies.rows()),
            (b"AUTH", []) if !self.logged_in => drop(self.replies.rows()),
            (b"USER" | b"PASS" | b"APOP" | b"AUTH" | b"STLS", _) => {
                assert!(!self.logged_in, "{} after the login", keyword.escape_ascii());
                self.logged_in = matches!(&keyword[..], b"PASS" | b"APOP" | b"AUTH");
                self.has_tls = keyword == b"STLS";
            }
            (b"STAT" | b"LIST" | b"UIDL" | b"RETR" | b"DELE" | b"RSET" | b"TOP", _) => {
                assert!(self.logged_in, "{} before the login", keyword.escape_ascii());
                self.transaction(&keyword, &arguments, first);
            }
            (b"NOOP" | b"LAST" | b"UTF8" | b"LANG", _) => {}
            _ => panic!("+OK to what is no command: {}", line.escape_ascii()),
        }
    }

    fn transaction(&mut self, keyword: &[u8], arguments: &[&[u8]], first: &[u8]) {
        let present: Vec<usize> =
            (0..self.letters.len()).filter(|it| !self.deleted.contains(it)).collect();
        let index = arguments.first().map(|word| {
            let number: usize = text(word).parse().expect("a number");
            assert!(present.contains(&(number - 1)), "a message that is not there: {number}");
            number - 1
        });
        let size = |index: usize| with_crlf(&self.letters[index]).len();
        let words: Vec<&str> = text(first).split_ascii_whitespace().skip(1).collect();
        match (keyword, index) {
            (b"STAT", None) => {
                let sum: usize = present.iter().map(|&index| size(index)).sum();
                assert_eq!(words[..2], [present.len().to_string(), sum.to_string()]);
            }
            (b"LIST", None) => {
                let rows: Vec<_> =
                    self.replies.rows().into_iter().map(|row| text(row).to_owned()).collect();
                let expected =
                    present.iter().map(|&index| format!("{} {}", index + 1, size(index)));
                assert_eq!(rows, expected.collect::<Vec<_>>());
            }
            (b"LIST", Some(index)) => {
                assert_eq!(words[..2], [(index + 1).to_string(), size(index).to_string()]);
            }
            (b"UIDL", None) => {
                let rows = self.replies.rows();
                assert_eq!(rows.len(), present.len());
                for (row, index) in rows.into_iter().zip(present) {
                    self.id(row, index);
                }
            }
            (b"UIDL", Some(index)) => self.id(&first[b"+OK ".len()..first.len() - 2], index),
            (b"RETR", Some(index)) => {
                let expected = stuffed(&with_crlf(&self.letters[index]));
                self.replies.body(&expected);
            }
            (b"TOP", Some(index)) => {
                let count = text(arguments[1]).parse::<u64>().unwrap_or(u64::MAX);
                let expected = stuffed(&with_crlf(&top(&self.letters[index], count)));
                self.replies.body(&expected);
            }
            (b"DELE", Some(index)) => drop(self.deleted.insert(index)),
            (b"RSET", None) => self.deleted.clear(),
            _ => panic!("+OK to {} with {} arguments", keyword.escape_ascii(), arguments.len()),
        }
    }

    /// An id belongs to one message for the whole session.
    fn id(&mut self, row: &[u8], index: usize) {
        let id = row.strip_prefix(format!("{} ", index + 1).as_bytes()).expect("number and id");
        assert!((1..=MAX_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic));
        self.ids.resize(self.letters.len(), None);
        let is_new = self.ids[index].is_none();
        assert!(
            !(is_new && self.ids.iter().flatten().any(|known| known == id)),
            "one id, two messages"
        );
        assert_eq!(self.ids[index].get_or_insert(id.to_vec()), id);
    }
}

/// What was not read of the replies.
#[derive(Default)]
struct Replies<'a>(&'a [u8]);

impl<'a> Replies<'a> {
    /// Takes a line with its CRLF.
    fn line(&mut self) -> &'a [u8] {
        let end =
            self.0.iter().position(|&byte| byte == b'\n').expect("a reply to each command") + 1;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        let body = line.strip_suffix(b"\r\n").expect("a reply ends in CRLF");
        assert!(!body.contains(&b'\r') && !body.contains(&0) && line.len() <= MAX_REPLY);
        line
    }

    /// Takes the rows of a listing, without their CRLF, up to its end.
    fn rows(&mut self) -> Vec<&'a [u8]> {
        let mut rows = Vec::new();
        loop {
            let line = self.line();
            match line.strip_suffix(b"\r\n") {
                Some(b".") => return rows,
                Some(row) => {
                    assert!(!row.is_empty() && !row.starts_with(b"."), "a row that is none");
                    rows.push(row);
                }
                None => unreachable!("a line ends in CRLF"),
            }
        }
    }

    fn body(&mut self, expected: &[u8]) {
        self.0 = self.0.strip_prefix(expected).expect("the message, byte for byte");
    }
}

fn is(line: &[u8], begin: &[u8]) -> bool {
    line.strip_prefix(begin).is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r')))
}

fn keyword(line: &[u8]) -> Vec<u8> {
    line.split(|&byte| byte == b' ').next().unwrap_or_default().to_ascii_uppercase()
}

fn arguments(line: &[u8]) -> Vec<&[u8]> {
    line.split(|&byte| byte == b' ').skip(1).filter(|word| !word.is_empty()).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ASCII")
}

/// The header, the blank line and `count` lines of the body.
#[must_use]
pub fn top(message: &[u8], count: u64) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut lines = message.split_inclusive(|&byte| byte == b'\n');
    for line in lines.by_ref() {
        shown.extend_from_slice(line);
        if line.strip_suffix(b"\n").is_some_and(|line| line.iter().all(|&byte| byte == b'\r')) {
            break;
        }
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    lines.take(count).for_each(|line| shown.extend_from_slice(line));
    shown
}
