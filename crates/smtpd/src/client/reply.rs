//! A server's reply. Its codes are interpreted; the text is for people.

use std::fmt;

/// A reply, of one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReply {
    code: u16,
    lines: Vec<String>,
}

impl ServerReply {
    /// Makes the reply of a code and its texts.
    #[must_use]
    pub fn new(code: u16, lines: Vec<String>) -> ServerReply {
        ServerReply { code, lines }
    }

    /// Reads a reply of one line; `None` if it is none, or has more lines.
    #[cfg(test)]
    pub fn of_line(line: &[u8]) -> Option<ServerReply> {
        let (code, more, text) = reply_line(line)?;
        (!more).then(|| ServerReply::new(code, vec![forknet::printable(text)]))
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Returns the subject and the detail of the enhanced status in the last line (RFC 2034), if it is of the reply's
    /// class.
    #[must_use]
    pub fn enhanced(&self) -> Option<(u16, u16)> {
        let word = self.lines.last()?.split(' ').next()?;
        let mut numbers = word.split('.').map(|part| part.parse().ok());
        let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
        (numbers.next().is_none() && self.code / 100 == class).then_some((subject, detail))
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

    /// Returns whether the code is 5yz: a permanent refusal.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Returns whether the code is 421: the server closes the connection.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// Returns the texts of the reply's lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl fmt::Display for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" "))
    }
}

/// Splits `250-text`, `250 text` or `250` into the code, whether more lines follow, and the text.
pub(super) fn reply_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
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
    fn an_enhanced_status_is_of_the_replys_class() {
        let enhanced = |line: &[u8]| ServerReply::of_line(line).unwrap().enhanced();
        assert_eq!(enhanced(b"550 5.1.1 no"), Some((1, 1)));
        assert_eq!(enhanced(b"550 5.1.10 no"), Some((1, 10)));
        for none in [
            &b"550 no"[..],
            b"550 4.1.1 no",
            b"550 5.1 no",
            b"550 5.1.1.1 no",
            b"550",
            b"550 5.a.1",
        ] {
            assert_eq!(enhanced(none), None, "{}", none.escape_ascii());
        }
    }
}
