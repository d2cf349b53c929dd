//! Replies: `+OK` or `-ERR`, a text, and in some the response codes of RFC 2449 §8 and RFC 3206.

use std::fmt::Display;

/// One reply line with its CRLF. It never quotes the client, so it is never longer than the 512
/// octets of RFC 1939 §3.
pub type Reply = Vec<u8>;

/// A response code, the machine-readable part of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The credentials are wrong (RFC 3206 §4).
    Auth,
    /// The maildrop is locked by another session (RFC 2449 §8.1.2).
    InUse,
    /// The user has logged in only a moment ago (RFC 2449 §8.1.1).
    LoginDelay,
    /// The message holds UTF-8, which the client has not asked for (RFC 6856 §5).
    Utf8,
    /// A temporary failure (RFC 3206 §5).
    Temporary,
    /// A failure that the administrator must repair (RFC 3206 §5).
    Permanent,
}

impl Code {
    /// Returns the code for a failure of the mail store.
    #[must_use]
    pub fn from_error(error: &mailstore::Error) -> Code {
        if error.is_temporary() { Code::Temporary } else { Code::Permanent }
    }

    fn text(self) -> &'static str {
        match self {
            Code::Auth => "[AUTH]",
            Code::InUse => "[IN-USE]",
            Code::LoginDelay => "[LOGIN-DELAY]",
            Code::Utf8 => "[UTF8]",
            Code::Temporary => "[SYS/TEMP]",
            Code::Permanent => "[SYS/PERM]",
        }
    }
}

/// Returns `+OK text`.
pub fn ok(text: impl Display) -> Reply {
    format!("+OK {text}\r\n").into_bytes()
}

/// Returns `-ERR text`.
pub fn err(text: impl Display) -> Reply {
    format!("-ERR {text}\r\n").into_bytes()
}

/// Returns `-ERR [CODE] text`.
pub fn err_code(code: Code, text: impl Display) -> Reply {
    err(format_args!("{} {text}", code.text()))
}

/// Returns `1 message`, `2 messages`.
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
