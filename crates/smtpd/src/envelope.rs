//! What a client told before the letter itself.

use std::net::IpAddr;

use crate::recipient::Recipient;

/// The client's HELO or EHLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name or address literal that it gave.
    pub name: String,
    /// It said EHLO.
    pub extended: bool,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For logs, such as `127.0.0.1:52100`.
    pub name: String,
    /// The address, where there is one (a UNIX socket and a pipe have none).
    pub ip: Option<IpAddr>,
    /// On this machine.
    pub is_loopback: bool,
}

/// The transaction in progress: from MAIL on.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The reverse-path without its brackets, empty for `<>`.
    pub sender: String,
    /// The size that `SIZE=` declared; 0 when nothing did.
    pub size: u64,
    /// Each user once, however often RCPT named him.
    pub recipients: Vec<Recipient>,
    /// RCPT commands that were accepted.
    pub accepted: usize,
    /// RCPT commands that were refused for now (4yz).
    pub deferred: usize,
    /// RCPT commands that were refused for good (5yz).
    pub rejected: usize,
}

impl Envelope {
    /// Takes in one more recipient; who is there already is not added again.
    pub fn add(&mut self, recipient: Recipient) {
        self.accepted += 1;
        if self.recipients.iter().all(|known| known.maildir != recipient.maildir) {
            self.recipients.push(recipient);
        }
    }
}
