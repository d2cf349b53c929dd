//! How letters are sent: the same for all connections of a program.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use accounts::{Mechanisms, Secret};
use forknet::Stop;

/// Longest wait for a connection to one address. Ten of them make the five minutes of RFC 5321 §4.5.3.2.1.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the greeting, and for the replies to EHLO, MAIL and RCPT (RFC 5321 §4.5.3.2.1 to 3).
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest wait for the reply to DATA (RFC 5321 §4.5.3.2.4).
const DATA_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Longest wait for a block of the letter to be sent (RFC 5321 §4.5.3.2.5).
const BLOCK_TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// Longest wait for the reply to the end of the letter (RFC 5321 §4.5.3.2.6).
const END_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Longest wait for the reply to QUIT. Short, because every letter is taken or refused by then.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to one address.
    pub connect: Duration,
    /// For the greeting and for the reply to a command.
    pub command: Duration,
    /// For the reply to DATA.
    pub data: Duration,
    /// For a block of the letter to be sent.
    pub block: Duration,
    /// For the reply to the end of the letter.
    pub end: Duration,
    /// For the reply to QUIT.
    pub quit: Duration,
}

impl Timeouts {
    /// Those of RFC 5321 §4.5.3.2.
    pub const RFC: Timeouts = Timeouts {
        connect: CONNECT_TIMEOUT,
        command: COMMAND_TIMEOUT,
        data: DATA_TIMEOUT,
        block: BLOCK_TIMEOUT,
        end: END_TIMEOUT,
        quit: QUIT_TIMEOUT,
    };

    /// One for every wait (`--timeout`); QUIT stays short.
    #[must_use]
    pub fn all(limit: Duration) -> Timeouts {
        let quit = limit.min(QUIT_TIMEOUT);
        let (connect, command, data, block, end) = (limit, limit, limit, limit, limit);
        Timeouts { connect, command, data, block, end, quit }
    }
}

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP: one reply to a letter.
    Smtp,
    /// LMTP (RFC 2033): a reply to a letter for each recipient that was taken.
    Lmtp,
}

/// When TLS is used.
#[derive(Debug, Clone)]
pub enum TlsUse {
    /// Never.
    Never,
    /// By STARTTLS where it is offered, with any certificate; in the clear where the handshake fails. Where DNS has
    /// secure TLSA records of the host (DANE, RFC 7672), only with a certificate that they name.
    Opportunistic,
    /// By STARTTLS, or the host gets no letter: its certificate has its name and is trusted, or DANE names it.
    Required(tls::Client),
    /// With the first byte (RFC 8314), with a certificate that is trusted.
    Implicit(tls::Client),
}

impl TlsUse {
    /// Returns whether TLS may begin by STARTTLS.
    pub(crate) fn is_by_command(&self) -> bool {
        matches!(self, TlsUse::Opportunistic | TlsUse::Required(_))
    }
}

/// What becomes of a letter with bytes over 127 for a server without 8BITMIME (RFC 6152 §3), and of addresses in UTF-8
/// for one without SMTPUTF8 (RFC 6531 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EightBit {
    /// It is refused for good, with 5.6.3 or 5.6.7. Nothing is converted, because a letter that was signed would not be
    /// that letter any more.
    Refuse,
    /// It is sent as it is, to a server of one's own.
    Send,
}

/// A login (RFC 4954).
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// The mechanisms that may be used.
    pub mechanisms: Mechanisms,
}

/// Is shown the dialogue: `C`, a line of the client; `S`, one of the server; `D`, what a name server has said. The
/// line can be printed, and has no password in it.
#[derive(Clone)]
pub struct Show(Arc<ShowLine>);

type ShowLine = dyn Fn(char, &str) + Send + Sync;

impl Show {
    /// Shows lines by this function.
    pub fn new(show: impl Fn(char, &str) + Send + Sync + 'static) -> Show {
        Show(Arc::new(show))
    }

    /// Shows a line.
    pub fn line(&self, sender: char, line: &str) {
        (self.0)(sender, line);
    }
}

impl fmt::Debug for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Show")
    }
}

/// How letters are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// The client's name, a domain or an address literal.
    pub helo: String,
    /// Longest waits.
    pub timeouts: Timeouts,
    /// When TLS is used.
    pub tls: TlsUse,
    /// The login before the first letter.
    pub login: Option<Login>,
    /// What becomes of letters with bytes over 127.
    pub eight_bit: EightBit,
    /// A short letter goes in one write with its envelope by BDAT, where CHUNKING and PIPELINING are offered (RFC 3030):
    /// one wait a letter. Without it by DATA, as the slides have it.
    pub use_chunking: bool,
    /// What a server is called in messages before its name: `lmtp`.
    pub label: Option<&'static str>,
    /// Ends the waits at SIGINT and SIGTERM.
    pub stop: Option<Stop>,
    /// Who is shown the dialogue.
    pub show: Option<Show>,
}

impl Settings {
    /// Returns settings of SMTP with the RFC's limits: no TLS, no login, DATA.
    #[must_use]
    pub fn new(helo: impl Into<String>) -> Settings {
        Settings {
            protocol: Protocol::Smtp,
            helo: helo.into(),
            timeouts: Timeouts::RFC,
            tls: TlsUse::Never,
            login: None,
            eight_bit: EightBit::Refuse,
            use_chunking: false,
            label: None,
            stop: None,
            show: None,
        }
    }

    /// Shows a line, unless there is no [`Show`].
    pub(crate) fn show(&self, sender: char, line: &[u8]) {
        if let Some(show) = &self.show {
            show.line(sender, &forknet::printable(line));
        }
    }
}
