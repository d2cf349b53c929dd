//! Replies: a code, an enhanced status code and text (RFC 5321 §4.2, RFC 2034, RFC 3463).

/// Longest text of one reply line in bytes: 512 octets without the code, the status and CRLF
/// (RFC 5321 §4.5.3.1.5).
const MAX_TEXT: usize = 490;

/// A reply of the server. Clients interpret the code only; the rest is for humans and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// The enhanced status code of RFC 3463 (`5.1.1`), empty where RFC 2034 §4 requires none.
    status: &'static str,
    lines: Vec<String>,
}

impl Reply {
    /// Returns a reply of one line with an enhanced status code.
    pub fn new(code: u16, status: &'static str, text: impl Into<String>) -> Reply {
        Reply { code, status, lines: vec![text.into()] }
    }

    /// Returns a reply of one line without a status: the greeting, replies to HELO and EHLO, 354.
    pub fn plain(code: u16, text: impl Into<String>) -> Reply {
        Reply::new(code, "", text)
    }

    /// Adds a line, or fills the only one that is empty.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Reply {
        match self.lines.as_mut_slice() {
            [only] if only.is_empty() => *only = text.into(),
            _ => self.lines.push(text.into()),
        }
        self
    }

    /// Returns a reply of one line with the same code and status.
    #[must_use]
    pub fn with_text(&self, text: impl Into<String>) -> Reply {
        Reply::new(self.code, self.status, text)
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Returns whether the code is 2yz or 3yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Returns whether the client violated the protocol. Such commands are counted, and too many
    /// end the session. 503 does not count, because after a refused MAIL every pipelined RCPT gets
    /// it (RFC 2920 §3.1).
    #[must_use]
    pub fn is_bad_command(&self) -> bool {
        matches!(self.code, 500..=502 | 504)
    }

    /// Returns the text of its first line.
    #[must_use]
    pub fn text(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// Returns whether a name was unknown: the client may be guessing.
    #[must_use]
    pub fn is_unknown_name(&self) -> bool {
        (self.code, self.status) == (550, "5.1.1")
    }

    /// Returns the lines to send, without CRLF.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let last = self.lines.len().saturating_sub(1);
        self.lines.iter().enumerate().map(move |(at, text)| {
            let separator = if at == last { ' ' } else { '-' };
            let space = if self.status.is_empty() { "" } else { " " };
            let text = up_to(text, MAX_TEXT);
            format!("{}{separator}{}{space}{text}", self.code, self.status)
        })
    }
}

/// Returns the characters of a text that have their place in this number of bytes.
fn up_to(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> Vec<String> {
        reply.lines().collect()
    }

    #[test]
    fn every_line_has_the_status_and_all_but_the_last_a_hyphen() {
        assert_eq!(wire(&Reply::new(250, "2.0.0", "OK")), ["250 2.0.0 OK"]);
        let help = Reply::new(214, "2.0.0", "Commands:").and("NOOP").and("QUIT");
        assert_eq!(wire(&help), ["214-2.0.0 Commands:", "214-2.0.0 NOOP", "214 2.0.0 QUIT"]);
        assert_eq!(wire(&Reply::plain(354, "Go on")), ["354 Go on"]);
    }

    #[test]
    fn a_reply_line_has_at_most_512_bytes() {
        let long = Reply::new(550, "5.1.1", "x".repeat(2000));
        assert!(wire(&long)[0].len() + 2 <= 512);
        let long = Reply::new(250, "2.1.5", "x".to_owned() + &"\u{444}".repeat(2000));
        let line = &wire(&long)[0];
        assert!(line.len() + 2 <= 512 && line.len() > 490 && line.ends_with('\u{444}'), "{line}");
    }
}
