//! `--deliver`: where the mail of users goes in place of their mailboxes.

use std::fmt;

use forknet::{HostPort, Result, Row, UnixName, Values};

/// The port of LMTP, for which none is registered; many servers use this one.
const LMTP_PORT: u16 = 24;

/// A server of LMTP (RFC 2033).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LmtpServer {
    /// By TCP.
    Tcp(HostPort),
    /// By a UNIX-domain socket.
    Unix(UnixName),
}

/// For the log: `lmtp unix:/run/dovecot/lmtp`.
impl fmt::Display for LmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LmtpServer::Tcp(server) => write!(f, "lmtp {server}"),
            LmtpServer::Unix(name) => write!(f, "lmtp unix:{name}"),
        }
    }
}

/// The option.
pub const ROW: Row = Row {
    name: "deliver",
    value: "TO",
    excludes: "mda",
    help: "hand the mail of users to a server: lmtp:unix:PATH, lmtp:HOST:PORT",
    manual: "Hand the mail of users to a server of LMTP (RFC 2033) in place of their mailboxes: `lmtp:unix:<path>`, or \
        `lmtp:<host>:<port>`, as Dovecot's. At `RCPT` it is asked about the recipient, a user's name with the first \
        `--domain` behind it unless it has one; what it says then, and to the letter, is answered here. A process \
        with the rights of `--mail-user`, or else of `-u`, talks to it. `~/.forward` is not read.",
    ..Row::EMPTY
};

/// Reads the option.
///
/// # Errors
/// It names no server of LMTP.
pub fn read(values: &Values) -> Result<Option<LmtpServer>> {
    let Some(text) = values.text("deliver") else { return Ok(None) };
    let wrong = |why: &str| values.wrong("deliver", &text, why);
    let place = text.strip_prefix("lmtp:");
    let place = place.ok_or_else(|| wrong("not lmtp:unix:PATH or lmtp:HOST:PORT"))?;
    let server = match place.strip_prefix("unix:") {
        Some(path) => UnixName::parse(path).map(LmtpServer::Unix).map_err(|why| wrong(&why))?,
        None => {
            let server = HostPort::parse(place, LMTP_PORT);
            LmtpServer::Tcp(server.map_err(|_| wrong("not lmtp:unix:PATH or lmtp:HOST:PORT"))?)
        }
    };
    Ok(Some(server))
}
