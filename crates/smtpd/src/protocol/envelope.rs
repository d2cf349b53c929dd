//! The client's name and the envelope, which are sent before the letter.

use std::net::IpAddr;

use accounts::Mechanisms;

use crate::protocol::address::Name;
use crate::protocol::params::{MailParams, RcptParams};

/// The client's HELO or EHLO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// The name or address literal in the command, up to 255 bytes, none of them a control character.
    pub name: Vec<u8>,
    /// Whether the command was EHLO or LHLO.
    pub extended: bool,
    /// Whether it was LHLO (RFC 2033).
    pub is_lmtp: bool,
}

/// The client's address.
#[derive(Debug, Clone, Default)]
pub struct ClientAddress {
    /// The address for logs, such as `127.0.0.1:52100`.
    pub name: String,
    /// The IP address, `None` for a UNIX socket or a pipe.
    pub ip: Option<IpAddr>,
    /// Whether the client is on this machine.
    pub is_loopback: bool,
    /// STARTTLS, and whether the session is under TLS.
    pub tls: StartTls,
    /// The mechanisms of AUTH that can be used.
    pub mechanisms: Mechanisms,
    /// The user who has logged in, in printable form.
    pub user: Option<String>,
    /// It may send elsewhere without a login (`--relay-from`).
    pub is_ours: bool,
}

/// A login, as the process that talks to the client shows it to the keeper's processes. Without one both are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user's name in its canonical form.
    pub name: Vec<u8>,
    /// What proves it ([`maild::MailOptions::token`]).
    pub token: Vec<u8>,
}

impl ClientAddress {
    /// Returns whether letters of this client are handed in, to be sent anywhere, and do not come from another site.
    #[must_use]
    pub fn submits(&self) -> bool {
        self.is_ours || self.user.is_some()
    }
}

/// STARTTLS (RFC 3207).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartTls {
    /// The server has no certificate.
    #[default]
    Never,
    /// It has one, and cannot sign for it now.
    Unavailable,
    /// The client may use it.
    Offered,
    /// The session is under TLS.
    UnderTls,
}

/// A user who receives the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address of the RCPT command.
    pub address: String,
    /// The name in it, by which the user is found again.
    pub name: Name,
    /// The parameters of the command.
    pub params: RcptParams,
}

/// Where a letter goes (RFC 821 §3.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// MAIL: to the mailbox.
    #[default]
    Mail,
    /// SEND: to the user's terminal.
    Send,
    /// SOML: to the terminal, or to the mailbox of a user who has none.
    SendOrMail,
    /// SAML: to the terminal, if there is one, and to the mailbox.
    SendAndMail,
}

const WAYS: [(Way, u8); 4] =
    [(Way::Mail, b'r'), (Way::Send, b'1'), (Way::SendOrMail, b'2'), (Way::SendAndMail, b'3')];

impl Way {
    /// Returns the byte that a question to the keeper begins with.
    #[must_use]
    pub fn code(self) -> u8 {
        WAYS.iter().find(|(way, _)| *way == self).map_or(b'r', |(_, code)| *code)
    }

    /// Returns the way of such a byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Way> {
        WAYS.iter().find(|(_, known)| *known == code).map(|(way, _)| *way)
    }
}

/// The transaction in progress, from MAIL on.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// The reverse-path without its brackets, empty for `<>`.
    pub sender: String,
    /// The parameters of MAIL.
    pub params: MailParams,
    /// Whether it was begun with MAIL, SEND, SOML or SAML.
    pub way: Way,
    /// The recipients, each name once. Several names may be one user, who gets the letter once.
    pub recipients: Vec<Recipient>,
    /// For each accepted RCPT command, whose recipient it is: an index of `recipients` (RFC 2033 §4.2).
    pub accepted: Vec<usize>,
    /// Number of temporarily refused RCPT commands (4yz).
    pub deferred: usize,
    /// Number of permanently refused RCPT commands (5yz).
    pub rejected: usize,
}

impl Envelope {
    /// Returns the size that `SIZE=` declared, in octets (RFC 1870); 0 without it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.params.size.unwrap_or(0)
    }

    /// Adds a recipient, once for each name.
    pub fn add(&mut self, recipient: Recipient) {
        let known = self.recipients.iter().position(|known| known.name == recipient.name);
        self.accepted.push(known.unwrap_or(self.recipients.len()));
        if known.is_none() {
            self.recipients.push(recipient);
        }
    }

    /// Counts a refused RCPT command by the code of its reply.
    pub fn count_refusal(&mut self, code: u16) {
        let count = if code < 500 { &mut self.deferred } else { &mut self.rejected };
        *count += 1;
    }
}
