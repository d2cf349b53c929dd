//! Replies: `+OK` or `-ERR`, a text, and for some the response codes of RFC 2449 §8 and RFC 3206.

use std::fmt::Display;

/// One line of reply, its CRLF included. No octet of the client's ever stands in one, so that it
/// is never longer than the 512 octets of RFC 1939 §3.
pub type Reply = Vec<u8>;

/// What a client's program, not its user, reads in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The credentials, or the way they were given, are the problem (RFC 3206 §4).
    Auth,
    /// The maildrop is locked by another session (RFC 2449 §8.1.2).
    InUse,
    /// A failure that passes by itself (RFC 3206 §5).
    Temporary,
    /// A failure that somebody has to repair (RFC 3206 §5).
    Permanent,
}

impl Code {
    /// Whether a failure of the store passes by itself.
    #[must_use]
    pub fn of(error: &mailstore::Error) -> Code {
        if error.is_temporary() { Code::Temporary } else { Code::Permanent }
    }

    fn text(self) -> &'static str {
        match self {
            Code::Auth => "[AUTH]",
            Code::InUse => "[IN-USE]",
            Code::Temporary => "[SYS/TEMP]",
            Code::Permanent => "[SYS/PERM]",
        }
    }
}

/// `+OK text`
pub fn ok(text: impl Display) -> Reply {
    format!("+OK {text}\r\n").into_bytes()
}

/// `-ERR text`
pub fn err(text: impl Display) -> Reply {
    format!("-ERR {text}\r\n").into_bytes()
}

/// `-ERR [CODE] text`
pub fn err_code(code: Code, text: impl Display) -> Reply {
    err(format_args!("{} {text}", code.text()))
}

/// `1 message`, `2 messages`.
pub(crate) fn messages(count: usize) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_line() {
        assert_eq!(ok(messages(1)), b"+OK 1 message\r\n");
        assert_eq!(err(messages(0)), b"-ERR 0 messages\r\n");
        assert_eq!(err_code(Code::InUse, "locked"), b"-ERR [IN-USE] locked\r\n");
    }
}
