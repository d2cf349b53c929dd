//! The AUTHORIZATION state (RFC 1939 §4, §7): USER and PASS, APOP, AUTH (RFC 5034), STLS,
//! UTF8 and LANG (RFC 6856), CAPA, QUIT.
//!
//! Which logins are allowed:
//! - USER and PASS send the password in the clear, so they are allowed only as `--plaintext`
//!   permits, by default for clients on this machine.
//! - APOP sends no password. It is offered (by the timestamp in the greeting) while the users file
//!   has a user with a `{PLAIN}` secret, because checking the digest needs the secret. If all
//!   passwords are hashed there is no timestamp, because clients that see one prefer APOP.
//! - AUTH offers the mechanisms that some user could use; PLAIN and LOGIN where PASS is allowed. Some
//!   clients use APOP whenever there is a timestamp, unless AUTH is offered. With AUTH, users with hashed
//!   passwords can log in to a server that also has users with `{PLAIN}` secrets.
//! - RFC 1939 §13 recommends that a user have only one of PASS and APOP, because PASS reveals
//!   APOP's secret. Here a user with a `{PLAIN}` secret has both if PASS is allowed, by default
//!   only for connections within the machine.

use accounts::sasl::{decode, decode_initial};
use accounts::{Mechanisms, Secret, base64};
use maild::{Credentials, Mechanism, Proof};

use crate::protocol::command::{Args, Command, Syntax};
use crate::protocol::language::lang;
use crate::protocol::outcome::{Attempt, Outcome};
use crate::protocol::reply::{Code, err, err_code, ok};

/// Failed logins that end the session.
pub const MAX_FAILED_LOGINS: u32 = 5;

/// The commands of this state.
pub const COMMANDS: &[Command<Authorization>] = &[
    Command::new("USER", Syntax::One, Authorization::user),
    Command::new("PASS", Syntax::Verbatim, Authorization::pass),
    Command::new("APOP", Syntax::Two, Authorization::apop),
    Command::new("AUTH", Syntax::UpToTwo, Authorization::auth),
    Command::new("STLS", Syntax::None, |state, _| state.stls()),
    Command::new("UTF8", Syntax::None, |state, _| state.utf8()),
    Command::new("LANG", Syntax::Optional, |_, args| lang(args)),
    Command::new("CAPA", Syntax::None, |_, _| Outcome::Capabilities),
    Command::new("QUIT", Syntax::None, |_, _| Outcome::Quit),
];

/// Whether STLS (RFC 2595 §4) can be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stls {
    /// The server has no certificate.
    #[default]
    Never,
    /// It can.
    Offered,
    /// The session is under TLS.
    UnderTls,
}

/// What a client is offered.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// Whether passwords in the clear are allowed.
    pub plaintext: bool,
    /// The timestamp of the greeting, if APOP is offered.
    pub timestamp: Option<String>,
    /// The mechanisms of AUTH.
    pub mechanisms: Mechanisms,
    /// STLS.
    pub stls: Stls,
    /// Seconds from a login of a user to the next one (`--login-delay`), if they are limited.
    pub login_delay: Option<u64>,
    /// Whether LAST is offered (`--last`).
    pub last: bool,
}

/// A session before its login.
pub struct Authorization {
    offers: Offers,
    /// The user name, if the current command is USER.
    user_now: Option<Vec<u8>>,
    /// The user name, if the previous command was USER, because PASS is valid only right after it
    /// (RFC 1939 §7).
    user_before: Option<Vec<u8>>,
    /// Whether the next line is the response to AUTH's challenge.
    awaits_response: bool,
    failed_logins: u32,
    /// Whether the client has said UTF8.
    is_utf8: bool,
}

impl Authorization {
    /// Begins the state.
    #[must_use]
    pub fn new(offers: Offers) -> Authorization {
        Authorization {
            offers,
            user_now: None,
            user_before: None,
            awaits_response: false,
            failed_logins: 0,
            is_utf8: false,
        }
    }

    /// Begins the state again, under TLS: what the client has said in the clear is forgotten, but that
    /// logins have failed.
    #[must_use]
    pub fn secured(&self, offers: Offers) -> Authorization {
        Authorization { failed_logins: self.failed_logins, ..Authorization::new(offers) }
    }

    /// After UTF8 a client must not say STLS (RFC 6856 §2.1).
    fn stls(&mut self) -> Outcome {
        match self.offers.stls {
            Stls::Offered if self.is_utf8 => Outcome::BadCommand(err("STLS: it comes before UTF8")),
            Stls::Offered => Outcome::StartTls(ok("begin TLS")),
            Stls::UnderTls => Outcome::BadCommand(err("STLS: the session is under TLS already")),
            Stls::Never => Outcome::Reply(err("STLS: the server has no certificate")),
        }
    }

    /// Returns whether STLS can be used.
    #[must_use]
    pub fn offers_stls(&self) -> bool {
        self.offers.stls == Stls::Offered && !self.is_utf8
    }

    /// UTF8 (RFC 6856 §2.1). It is for the whole session.
    fn utf8(&mut self) -> Outcome {
        self.is_utf8 = true;
        Outcome::Reply(ok("UTF-8 from now on"))
    }

    /// Returns whether the client has said UTF8.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// Begins the next command. Drops the name of an earlier USER than the previous command.
    pub fn next_command(&mut self) {
        self.user_before = self.user_now.take();
    }

    fn user(&mut self, args: Args<'_>) -> Outcome {
        if !self.offers.plaintext {
            return plaintext_refused();
        }
        // The same reply for every name, so that it does not reveal which users exist (RFC 1939
        // §13).
        self.user_now = Some(args.word().to_vec());
        Outcome::Reply(ok("now PASS"))
    }

    fn pass(&mut self, args: Args<'_>) -> Outcome {
        if !self.offers.plaintext {
            return plaintext_refused();
        }
        let Some(name) = self.user_before.take() else {
            return Outcome::BadCommand(err("PASS: USER comes right before"));
        };
        let proof = Proof::Password(Secret::from(args.word()));
        log_in(Mechanism::Pass, name, proof)
    }

    fn apop(&mut self, args: Args<'_>) -> Outcome {
        let Some(timestamp) = self.offers.timestamp.clone() else {
            return Outcome::Reply(err("APOP is not offered here"));
        };
        let digest = args.second.unwrap_or_default().to_vec();
        let proof = Proof::Digest { challenge: timestamp.into_bytes(), digest };
        log_in(Mechanism::Apop, args.word().to_vec(), proof)
    }

    /// AUTH (RFC 5034 §4). Without an argument it lists the mechanisms.
    fn auth(&mut self, args: Args<'_>) -> Outcome {
        let Some(name) = args.first else {
            let list = self.offers.mechanisms.iter().map(|it| format!("{it}\r\n"));
            let list = list.collect::<String>();
            return Outcome::Reply(format!("+OK mechanisms follow\r\n{list}.\r\n").into_bytes());
        };
        let Some(mechanism) = accounts::Mechanism::parse(name) else {
            return no_such_mechanism();
        };
        if mechanism.sends_password() && !self.offers.plaintext {
            return plaintext_refused();
        }
        match args.second.map(decode_initial) {
            None => Outcome::LogIn(Attempt::Auth(mechanism, None)),
            Some(Some(response)) => Outcome::LogIn(Attempt::Auth(mechanism, Some(response))),
            Some(None) => not_base64(),
        }
    }

    /// Returns whether the next line is the response to AUTH's challenge.
    #[must_use]
    pub fn awaits_response(&self) -> bool {
        self.awaits_response
    }

    /// Sends a challenge (RFC 5034 §4).
    pub fn challenge(&mut self, challenge: &[u8]) -> Outcome {
        self.awaits_response = true;
        Outcome::Reply(format!("+ {}\r\n", base64(challenge)).into_bytes())
    }

    /// Handles the response to AUTH's challenge. `*` cancels (RFC 5034 §4). `None` means a line
    /// over the limit.
    pub fn response(&mut self, line: Option<&[u8]>) -> Outcome {
        self.awaits_response = false;
        match line {
            Some(b"*") => Outcome::Reply(err("AUTH: cancelled")),
            Some(line) => match decode(line) {
                Some(response) => Outcome::LogIn(Attempt::Response(response)),
                None => not_base64(),
            },
            None => Outcome::BadCommand(err("AUTH: the response is too long")),
        }
    }

    /// Counts a failed login. The last one allowed ends the session.
    pub fn login_failed(&mut self) -> Outcome {
        self.failed_logins += 1;
        if self.failed_logins >= MAX_FAILED_LOGINS {
            return Outcome::Close(err_code(Code::Auth, "too many failed logins, goodbye"));
        }
        Outcome::Reply(err_code(Code::Auth, "wrong user name or password"))
    }
}

/// Returns the outcome of AUTH with a mechanism that is not offered.
pub(super) fn no_such_mechanism() -> Outcome {
    Outcome::Reply(err("AUTH: no such mechanism here"))
}

fn not_base64() -> Outcome {
    Outcome::BadCommand(err("AUTH: the response is not base64"))
}

fn log_in(mechanism: Mechanism, name: Vec<u8>, proof: Proof) -> Outcome {
    Outcome::LogIn(Attempt::By(Credentials { mechanism, name, proof }))
}

/// Without a response code: other credentials would not help, so it is not `[AUTH]`.
fn plaintext_refused() -> Outcome {
    Outcome::Reply(err("plaintext login is not allowed from here"))
}
