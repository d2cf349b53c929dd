//! A server's reply (RFC 5321 §4.2). Its codes are interpreted; the text is for people.

use std::fmt;

use forknet::printable;

/// Longest line of a reply in bytes, its end included. RFC 5321 §4.5.3.1.5 has 512; some servers send more.
pub(crate) const MAX_LINE: usize = 4096;
/// Most lines of one reply.
const MAX_LINES: usize = 200;
/// Longest reply in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// A reply, of one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// An enhanced status code, as in `5.1.1` (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enhanced {
    /// 2 success, 4 to be tried again, 5 for good.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 text, 7 security.
    pub subject: u16,
    /// The number within the subject.
    pub detail: u16,
}

/// Why bytes are no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// A line that is none of a reply, escaped.
    Line(String),
    /// A line over the limit.
    LongLine,
    /// Lines with different codes.
    TwoCodes,
    /// More lines or bytes than a reply may have.
    NoEnd,
}

/// Puts the lines of a reply together.
#[derive(Debug, Default)]
pub struct ReplyLines {
    code: Option<u16>,
    lines: Vec<String>,
    bytes: usize,
}

impl ReplyLines {
    /// Adds a line without its end; returns the reply once this was its last.
    ///
    /// # Errors
    /// [`Malformed`]; what follows cannot be read as replies then.
    pub fn add(&mut self, line: &[u8]) -> Result<Option<Reply>, Malformed> {
        let Some((code, more, text)) = reply_line(line) else {
            return Err(Malformed::Line(printable(line)));
        };
        if *self.code.get_or_insert(code) != code {
            return Err(Malformed::TwoCodes);
        }
        self.bytes += line.len();
        self.lines.push(printable(text));
        if !more {
            return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
        }
        if self.lines.len() >= MAX_LINES || self.bytes > MAX_BYTES {
            return Err(Malformed::NoEnd);
        }
        Ok(None)
    }
}

/// Splits `250-text`, `250 text` or `250` into the code, whether more lines follow, and the text.
fn reply_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let good = matches!(digits, [b'2'..=b'5', second, third]
        if second.is_ascii_digit() && third.is_ascii_digit());
    let code = std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| good)?;
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

impl Reply {
    /// Reads a reply of one line; `None` if it is none, or has more lines.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Reply> {
        ReplyLines::default().add(line).ok().flatten()
    }

    /// Returns the code, 200 to 599.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Returns the enhanced status in the last line (RFC 2034), if it is of the reply's class.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        let found = Enhanced::parse(self.lines.last()?.split(' ').next()?)?;
        (u16::from(found.class) == self.code / 100).then_some(found)
    }

    /// Returns whether the code is 2yz: success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// Returns whether the code is 3yz: the server expects more input.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Returns whether the code is 4yz: to be tried again.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// Returns whether the code is 5yz: a refusal for good.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Returns whether the code is 421: the server closes the connection.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// Returns the texts of the reply's lines, escaped so that they can be printed.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// In one line: `550 5.1.1 no such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" "))
    }
}

impl Enhanced {
    /// Reads `5.1.1`; `None` for what is none (RFC 3463 §2).
    #[must_use]
    pub fn parse(text: &str) -> Option<Enhanced> {
        let number = |part: Option<&str>| {
            let part = part?;
            let is_number = matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| part.parse::<u16>().ok())?
        };
        let mut parts = text.split('.');
        let (class, subject, detail) =
            (number(parts.next())?, number(parts.next())?, number(parts.next())?);
        let class = u8::try_from(class).ok().filter(|class| matches!(class, 2 | 4 | 5))?;
        parts.next().is_none().then_some(Enhanced { class, subject, detail })
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Line(line) => f.write_str(line),
            Malformed::LongLine => f.write_str("a line that is too long"),
            Malformed::TwoCodes => f.write_str("a reply with two codes"),
            Malformed::NoEnd => f.write_str("a reply without an end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_line_is_three_digits_and_a_space_or_hyphen() {
        assert_eq!(reply_line(b"250 OK"), Some((250, false, &b"OK"[..])));
        assert_eq!(reply_line(b"250-a-b"), Some((250, true, &b"a-b"[..])));
        assert_eq!(reply_line(b"354"), Some((354, false, &b""[..])));
        for bad in [&b""[..], b"25", b"2500 x", b"150 x", b"650 x", b"25x y", b" 250", b"250_"] {
            assert_eq!(reply_line(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn the_lines_of_a_reply_have_one_code_and_an_end() {
        let mut lines = ReplyLines::default();
        assert_eq!(lines.add(b"250-red.test"), Ok(None));
        assert_eq!(lines.add(b"250-"), Ok(None));
        let reply = lines.add(b"250").unwrap().unwrap();
        assert_eq!(reply.lines().collect::<Vec<_>>(), ["red.test", "", ""]);
        let mut lines = ReplyLines::default();
        assert_eq!(lines.add(b"250-a"), Ok(None));
        assert_eq!(lines.add(b"550 b"), Err(Malformed::TwoCodes));
        let mut lines = ReplyLines::default();
        let ends = (0..1000).find(|_| lines.add(b"250-x").is_err());
        assert_eq!(ends, Some(MAX_LINES - 1));
        let mut lines = ReplyLines::default();
        let long = [&b"250-"[..], &[b'x'; 4000]].concat();
        let ends = (0..1000).find(|_| lines.add(&long) == Err(Malformed::NoEnd));
        assert_eq!(ends, Some(MAX_BYTES / long.len()));
        assert_eq!(
            ReplyLines::default().add(b"SSH\x1b"),
            Err(Malformed::Line("SSH\\u{1b}".into()))
        );
    }

    #[test]
    fn an_enhanced_status_is_of_the_replys_class() {
        let enhanced = |line: &[u8]| Reply::of_line(line).unwrap().enhanced();
        assert_eq!(enhanced(b"550 5.1.1 no").unwrap().to_string(), "5.1.1");
        assert_eq!(enhanced(b"550 5.1.10 no").unwrap().to_string(), "5.1.10");
        for none in [
            &b"550 no"[..],
            b"550 4.1.1 no",
            b"550 5.1 no",
            b"550 5.1.1.1 no",
            b"550",
            b"550 5.a.1",
            b"550 5.1.+1",
            b"550 5.1.1000",
            b"550 5..1",
        ] {
            assert_eq!(enhanced(none), None, "{}", none.escape_ascii());
        }
    }
}
