//! What has become of a recipient: taken, or why not, and what follows from that.

use std::fmt;
use std::io;

use forknet::Error;

use crate::reply::{Enhanced, Reply};
use crate::status::Status;

/// What has become of the letter for one recipient.
pub type Outcome = std::result::Result<Delivered, Failure>;

/// A result of the client.
pub type Result<T> = std::result::Result<T, Failure>;

/// The server has taken the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its reply to the letter.
    pub reply: Reply,
    /// The server's name.
    pub host: String,
    /// It sends notifications itself (DSN, RFC 3461 §5.2.1).
    pub offers_dsn: bool,
    /// The version and the cipher of TLS; `None` in the clear.
    pub tls: Option<String>,
}

/// How far a session had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The name server was asked.
    Lookup,
    /// connect(2).
    Connect,
    /// The server's first reply.
    Greeting,
    /// EHLO, HELO, LHLO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Login,
    /// RSET, MAIL: the sender, the size and the form of the letter.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// The text, which was not sent to its end: the server has no letter.
    Text,
    /// The text was sent with its end (the CRLF after the dot; the last byte of the last chunk).
    End,
}

/// Why a letter was not taken, for one recipient or for all.
#[derive(Debug, Clone)]
pub struct Failure {
    /// For people: `red.test[127.0.0.2]:25: recipient <levy@red.test>: 550 5.1.1 no such user`.
    pub text: String,
    /// How far the session had come.
    pub stage: Stage,
    /// The exit code that sysexits(3) has for it.
    pub status: Status,
    /// The status of a report (RFC 3464 §2.3.4). Its class says whether to try again.
    pub code: Enhanced,
    /// The server's name, if there was one.
    pub host: Option<String>,
    /// The server's reply, if that is the reason.
    pub reply: Option<Reply>,
    /// The connection is of no use any more, not even for QUIT.
    pub is_lost: bool,
}

impl Failure {
    /// Makes a failure that no server's reply is the reason of.
    #[must_use]
    pub fn new(stage: Stage, status: Status, code: Enhanced, text: impl Into<String>) -> Failure {
        let text = text.into();
        Failure { text, stage, status, code, host: None, reply: None, is_lost: false }
    }

    /// Makes the failure of a refusal. `what` was refused; `shown` and `host` are the server.
    pub(crate) fn refused(stage: Stage, what: &str, reply: &Reply, shown: &str) -> Failure {
        let status = of_refusal(stage, reply);
        let text = format!("{shown}: {what}: {reply}");
        let mut failure = Failure::new(stage, status, code_of(stage, reply), text);
        failure.is_lost = reply.is_closing();
        failure.reply = Some(reply.clone());
        failure
    }

    /// Makes the failure of a connection that was not made.
    pub(crate) fn not_connected(error: &Error) -> Failure {
        let is_name = matches!(error, Error::Io { what, .. } if what.starts_with("resolve "));
        let (status, code) = match is_name {
            true => (Status::NoHost, code(4, 4, 3)),
            false => (Status::Temporary, code(4, 4, 1)),
        };
        Failure { is_lost: true, ..Failure::new(Stage::Connect, status, code, error.to_string()) }
    }

    /// Makes the failure of a server that is not there.
    #[must_use]
    pub fn not_there(why: &str) -> Failure {
        Failure::not_connected(&Error::Refused(why.to_owned()))
    }

    /// Makes the failure of a letter that cannot be read here.
    pub(crate) fn unreadable(stage: Stage, error: &io::Error) -> Failure {
        let text = format!("the letter: {}", forknet::reason(error));
        Failure { is_lost: true, ..Failure::new(stage, Status::Io, code(4, 3, 0), text) }
    }

    /// Makes the failure of a domain without hosts.
    #[must_use]
    pub fn of_dns(failure: &dns::Failure) -> Failure {
        let status = match failure {
            dns::Failure::Temporary(_) => Status::Temporary,
            dns::Failure::NoDomain(_) | dns::Failure::NoAddress(_) => Status::NoHost,
            dns::Failure::NullMx(_) | dns::Failure::Loop(_) => Status::Unavailable,
        };
        let class = if failure.is_temporary() { 4 } else { 5 };
        let code = Enhanced::parse(failure.status()).unwrap_or(code(class, 4, 0));
        Failure::new(Stage::Lookup, status, code, failure.to_string())
    }

    /// Says which server has failed.
    pub(crate) fn of_host(mut self, host: &str) -> Failure {
        self.host.get_or_insert_with(|| host.to_owned());
        self
    }

    /// Says that nothing more is to be sent on this connection.
    pub(crate) fn and_lost(self) -> Failure {
        Failure { is_lost: true, ..self }
    }

    /// Returns whether another try may succeed: now at another host, or here later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.code.class == 4
    }

    /// Returns whether the server may have the letter: it was sent whole, and the server's reply has not come (RFC 5321
    /// §4.5.4.1; a letter that is sent again may arrive twice).
    #[must_use]
    pub fn may_have_letter(&self) -> bool {
        self.stage == Stage::End && self.reply.is_none()
    }

    /// Returns whether the server has had enough recipients for one letter (RFC 5321 §4.5.3.1.10), and not too little room
    /// for this one.
    #[must_use]
    pub fn is_of_too_many(&self) -> bool {
        let is_it = |reply: &Reply| {
            let is_said =
                reply.enhanced().is_none_or(|found| (found.subject, found.detail) == (5, 3));
            matches!(reply.code(), 452 | 552) && is_said
        };
        self.stage == Stage::Recipient && self.reply.as_ref().is_some_and(is_it)
    }

    /// Returns whether another host of the domain is to be tried: where this one does not serve, and where it says
    /// "later" (RFC 5321 §5.1).
    #[must_use]
    pub fn tries_another(&self) -> bool {
        self.stage < Stage::Mail || (self.is_temporary() && !self.may_have_letter())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

pub(crate) const fn code(class: u8, subject: u16, detail: u16) -> Enhanced {
    Enhanced { class, subject, detail }
}

/// Returns what a refusal means for the shell. The codes decide, the text never does.
fn of_refusal(stage: Stage, reply: &Reply) -> Status {
    let (subject, detail) = reply.enhanced().map_or((0, 0), |it| (it.subject, it.detail));
    match (stage, reply.code()) {
        // RFC 5321 §4.5.3.1.10: "too many recipients", to be sent later.
        (Stage::Recipient, 552) => Status::Temporary,
        (_, 400..=499) => Status::Temporary,
        (Stage::Login, _) | (_, 530 | 534 | 535 | 538) => Status::NoPermission,
        (Stage::Recipient, 550 | 551 | 553) if subject != 7 => Status::NoUser,
        (Stage::Mail | Stage::Data | Stage::Text | Stage::End, 552) => Status::Data,
        (Stage::Mail | Stage::Data | Stage::Text | Stage::End, 500..)
            if subject == 6 || (subject, detail) == (3, 4) =>
        {
            Status::Data
        }
        (_, 500..=599) => Status::Unavailable,
        _ => Status::Protocol,
    }
}

/// Returns the status for a report: the server's own, or one that says no more than the class.
fn code_of(stage: Stage, reply: &Reply) -> Enhanced {
    let is_final = reply.is_permanent()
        // A login that fails is a fault of this host's configuration, and no reason to return letters; nor is TLS that the
        // server has refused, where we must have it.
        && !matches!(stage, Stage::Login | Stage::Tls)
        && !(stage == Stage::Recipient && reply.code() == 552);
    let class = if is_final { 5 } else { 4 };
    match reply.enhanced() {
        // A reply that is none of this command's, such as 250 to DATA.
        _ if !reply.is_permanent() && !reply.is_temporary() => code(4, 5, 0),
        Some(found) => Enhanced { class, ..found },
        None => code(class, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_refusal_decide_what_it_means() {
        for (line, stage, expected, code) in [
            ("421 4.3.2 bye", Stage::Greeting, Status::Temporary, "4.3.2"),
            ("554 5.3.2 no", Stage::Greeting, Status::Unavailable, "5.3.2"),
            ("450 4.2.1 busy", Stage::Recipient, Status::Temporary, "4.2.1"),
            ("552 5.5.3 too many", Stage::Recipient, Status::Temporary, "4.5.3"),
            ("552 5.2.2 full", Stage::Recipient, Status::Temporary, "4.2.2"),
            ("552 full", Stage::Recipient, Status::Temporary, "4.0.0"),
            ("550 5.1.1 no such user", Stage::Recipient, Status::NoUser, "5.1.1"),
            ("550 no such user", Stage::Recipient, Status::NoUser, "5.0.0"),
            ("551 5.1.6 moved", Stage::Recipient, Status::NoUser, "5.1.6"),
            ("550 5.7.1 no relaying", Stage::Recipient, Status::Unavailable, "5.7.1"),
            ("530 5.7.0 log in", Stage::Mail, Status::NoPermission, "5.7.0"),
            ("535 5.7.8 wrong", Stage::Login, Status::NoPermission, "4.7.8"),
            ("501 5.5.4 no TLS", Stage::Tls, Status::Unavailable, "4.5.4"),
            ("454 4.7.0 later", Stage::Login, Status::Temporary, "4.7.0"),
            ("552 5.3.4 too big", Stage::Mail, Status::Data, "5.3.4"),
            ("552 too big", Stage::End, Status::Data, "5.0.0"),
            ("550 5.6.11 bare LF", Stage::End, Status::Data, "5.6.11"),
            ("554 no", Stage::End, Status::Unavailable, "5.0.0"),
            ("354 go on", Stage::Mail, Status::Protocol, "4.5.0"),
            ("250 2.0.0 ok", Stage::Data, Status::Protocol, "4.5.0"),
        ] {
            let reply = Reply::of_line(line.as_bytes()).unwrap();
            let failure = Failure::refused(stage, "it", &reply, "h:25");
            assert_eq!((failure.status, &failure.code.to_string()[..]), (expected, code), "{line}");
        }
    }

    #[test]
    fn another_host_is_tried_where_that_can_help_and_cannot_double_the_letter() {
        let reply = |line: &str| Reply::of_line(line.as_bytes()).unwrap();
        let refused = |stage, line| Failure::refused(stage, "it", &reply(line), "h:25");
        assert!(refused(Stage::Greeting, "554 no").tries_another());
        assert!(refused(Stage::Recipient, "450 busy").tries_another());
        assert!(!refused(Stage::Recipient, "550 no").tries_another());
        assert!(refused(Stage::End, "451 later").tries_another());
        let lost = Failure::new(Stage::End, Status::Temporary, code(4, 4, 2), "lost");
        assert!(lost.may_have_letter() && !lost.tries_another());
        let before = Failure { stage: Stage::Text, ..lost };
        assert!(!before.may_have_letter() && before.tries_another());
    }
}
