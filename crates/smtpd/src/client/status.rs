//! Why a letter, or one of its recipients, was not sent: an error, and the exit code that sysexits(3) has for its kind.

use std::io::{self, Write};

use forknet::Error;

use super::options::NAME;
use super::reply::ServerReply;

/// The exit codes, with their names in sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// `EX_USAGE`: the command line is wrong.
    Usage = 64,
    /// `EX_DATAERR`: the server does not take a letter of this form or size.
    Data = 65,
    /// `EX_NOUSER`: the server does not know the recipient.
    NoUser = 67,
    /// `EX_NOHOST`: there is no such domain, or none of its hosts has an address.
    NoHost = 68,
    /// `EX_UNAVAILABLE`: another refusal that the next try will meet again.
    Unavailable = 69,
    /// `EX_IOERR`: reading or writing failed on this machine.
    Io = 74,
    /// `EX_TEMPFAIL`: another try may succeed.
    Temporary = 75,
    /// `EX_PROTOCOL`: the reply is no SMTP, exceeds a limit, or TLS failed.
    Protocol = 76,
    /// `EX_NOPERM`: the login was refused, or is needed.
    NoPermission = 77,
}

/// A failure.
#[derive(Debug)]
pub struct Failure {
    /// Its kind.
    pub status: Status,
    /// What it is, for people.
    pub error: Error,
    /// The connection is of no use any more, not even for QUIT.
    pub is_lost: bool,
    /// What has failed.
    pub of: Part,
}

/// The part of a session that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The connection, the greeting, TLS: another host may serve.
    Session,
    /// The letter, its sender, or a recipient.
    Letter,
    /// The reply to the end of the letter: the server may have taken it, and it must not go to another one.
    End,
}

/// A result of the client.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Makes a failure whose text is the reason.
    pub fn new(status: Status, why: impl Into<String>) -> Failure {
        Failure { status, error: Error::Refused(why.into()), is_lost: false, of: Part::Letter }
    }

    /// Makes the failure of a connection that has ended, or hangs.
    pub fn lost(error: Error) -> Failure {
        Failure { status: Status::Temporary, error, is_lost: true, of: Part::Session }
    }

    /// Says that nothing more is to be sent on this connection.
    #[must_use]
    pub fn and_lost(self) -> Failure {
        Failure { is_lost: true, ..self }
    }

    /// Says what has failed.
    #[must_use]
    pub fn of(self, of: Part) -> Failure {
        Failure { of, ..self }
    }

    /// Returns whether the same may succeed later, or at another host.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.status == Status::Temporary
    }

    /// Returns whether another host of the domain is to be tried.
    #[must_use]
    pub fn tries_another(&self) -> bool {
        match self.of {
            Part::Session => true,
            Part::Letter => self.is_temporary(),
            Part::End => false,
        }
    }

    /// Prints it to standard error.
    pub fn complain(&self) {
        let _ = writeln!(io::stderr(), "{NAME}: {}", self.error); // nowhere else to tell
    }

    /// Returns the exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.status as u8
    }
}

/// Errors about the command line, and about the letter's file.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error {
            Error::Usage(_) | Error::Answer(_) => Status::Usage,
            Error::Os { .. } | Error::Io { .. } | Error::Refused(_) => Status::Io,
        };
        Failure { status, error, is_lost: false, of: Part::Letter }
    }
}

/// What a reply is about, as far as its code means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// RCPT.
    Recipient,
    /// MAIL, DATA, and the end of the letter.
    Letter,
    /// AUTH.
    Login,
    /// The greeting, EHLO, STARTTLS.
    Session,
}

/// Returns what a refusal means. The codes decide, the text never does.
pub fn of_refusal(reply: &ServerReply, asked: Asked) -> Status {
    let (subject, detail) = reply.enhanced().unwrap_or_default();
    match (asked, reply.code()) {
        // RFC 5321 §4.5.3.1.10: "too many recipients", to be sent later.
        (Asked::Recipient, 552) if subject != 2 => Status::Temporary,
        (_, 400..=499) => Status::Temporary,
        (Asked::Login, _) | (_, 530 | 534 | 535 | 538) => Status::NoPermission,
        (Asked::Recipient, 550 | 551 | 553) if subject != 7 => Status::NoUser,
        (Asked::Letter, 552) => Status::Data,
        (Asked::Letter, _) if subject == 6 || (subject, detail) == (3, 4) => Status::Data,
        (_, 500..=599) => Status::Unavailable,
        _ => Status::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_refusal_decide_what_it_means() {
        for (line, asked, expected) in [
            ("421 4.3.2 bye", Asked::Session, Status::Temporary),
            ("554 5.3.2 no", Asked::Session, Status::Unavailable),
            ("450 4.2.1 busy", Asked::Recipient, Status::Temporary),
            ("552 5.5.3 too many", Asked::Recipient, Status::Temporary),
            ("552 5.2.2 full", Asked::Recipient, Status::Unavailable),
            ("550 5.1.1 no such user", Asked::Recipient, Status::NoUser),
            ("550 no such user", Asked::Recipient, Status::NoUser),
            ("551 5.1.6 moved", Asked::Recipient, Status::NoUser),
            ("550 5.7.1 no relaying", Asked::Recipient, Status::Unavailable),
            ("530 5.7.0 log in", Asked::Letter, Status::NoPermission),
            ("535 5.7.8 wrong", Asked::Login, Status::NoPermission),
            ("454 4.7.0 later", Asked::Login, Status::Temporary),
            ("552 5.3.4 too big", Asked::Letter, Status::Data),
            ("550 5.6.11 bare LF", Asked::Letter, Status::Data),
            ("554 no", Asked::Letter, Status::Unavailable),
            ("354 go on", Asked::Letter, Status::Protocol),
        ] {
            let reply = ServerReply::of_line(line.as_bytes()).unwrap();
            assert_eq!(of_refusal(&reply, asked), expected, "{line}");
        }
    }
}
