//! The AUTHORIZATION state (RFC 1939 §4, §7): USER and PASS, APOP, AUTH (RFC 5034), CAPA, QUIT.
//!
//! Which logins are allowed:
//! - USER and PASS send the password in the clear, so they are allowed only as `--plaintext`
//!   permits, by default for clients on this machine.
//! - APOP sends no password. It is offered (by the timestamp in the greeting) while the users file
//!   has a user with a `{PLAIN}` secret, because checking the digest needs the secret. If all
//!   passwords are hashed there is no timestamp, because clients that see one prefer APOP.
//! - AUTH PLAIN is allowed if PASS is. Some clients use APOP whenever there is a timestamp, unless
//!   AUTH is offered. With AUTH, users with hashed passwords can log in to a server that also has
//!   users with `{PLAIN}` secrets.
//! - RFC 1939 §13 recommends that a user have only one of PASS and APOP, because PASS reveals
//!   APOP's secret. Here a user with a `{PLAIN}` secret has both if PASS is allowed, by default
//!   only for connections within the machine.

use accounts::Secret;

use crate::protocol::command::{Args, Command, Syntax};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Code, err, err_code, ok};
use crate::protocol::sasl::{self, Plain};
use maild::{Credentials, Mechanism, Proof};

/// Failed logins that end the session.
pub const MAX_FAILED_LOGINS: u32 = 5;

/// The commands of this state.
pub const COMMANDS: &[Command<Authorization>] = &[
    Command::new("USER", Syntax::One, Authorization::user),
    Command::new("PASS", Syntax::Verbatim, Authorization::pass),
    Command::new("APOP", Syntax::Two, Authorization::apop),
    Command::new("AUTH", Syntax::UpToTwo, Authorization::auth),
    Command::new("STLS", Syntax::None, |state, _| state.stls()),
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

/// A session before its login.
pub struct Authorization {
    /// Whether passwords in the clear are allowed.
    plaintext: bool,
    /// The timestamp of the greeting, if APOP is offered.
    timestamp: Option<String>,
    /// The user name, if the current command is USER.
    user_now: Option<Vec<u8>>,
    /// The user name, if the previous command was USER, because PASS is valid only right after it
    /// (RFC 1939 §7).
    user_before: Option<Vec<u8>>,
    /// Whether the next line is the response to AUTH's challenge.
    awaits_response: bool,
    failed_logins: u32,
    stls: Stls,
}

impl Authorization {
    /// Begins the state.
    #[must_use]
    pub fn new(plaintext: bool, timestamp: Option<String>) -> Authorization {
        let (user_now, user_before) = (None, None);
        Authorization {
            plaintext,
            timestamp,
            user_now,
            user_before,
            awaits_response: false,
            failed_logins: 0,
            stls: Stls::Never,
        }
    }

    /// Says whether STLS can be used.
    #[must_use]
    pub fn with_stls(self, stls: Stls) -> Authorization {
        Authorization { stls, ..self }
    }

    /// Begins the state again, under TLS: what the client has said in the clear is forgotten, but that
    /// logins have failed.
    #[must_use]
    pub fn secured(&self) -> Authorization {
        let state = Authorization::new(true, self.timestamp.clone());
        Authorization { failed_logins: self.failed_logins, stls: Stls::UnderTls, ..state }
    }

    fn stls(&mut self) -> Outcome {
        match self.stls {
            Stls::Offered => Outcome::StartTls(ok("begin TLS")),
            Stls::UnderTls => Outcome::BadCommand(err("STLS: the session is under TLS already")),
            Stls::Never => Outcome::Reply(err("STLS: the server has no certificate")),
        }
    }

    /// Returns whether STLS can be used.
    #[must_use]
    pub fn offers_stls(&self) -> bool {
        self.stls == Stls::Offered
    }

    /// Begins the next command. Drops the name of an earlier USER than the previous command.
    pub fn next_command(&mut self) {
        self.user_before = self.user_now.take();
    }

    fn user(&mut self, args: Args<'_>) -> Outcome {
        if !self.plaintext {
            return plaintext_refused();
        }
        // The same reply for every name, so that it does not reveal which users exist (RFC 1939
        // §13).
        self.user_now = Some(args.word().to_vec());
        Outcome::Reply(ok("now PASS"))
    }

    fn pass(&mut self, args: Args<'_>) -> Outcome {
        if !self.plaintext {
            return plaintext_refused();
        }
        let Some(name) = self.user_before.take() else {
            return Outcome::BadCommand(err("PASS: USER comes right before"));
        };
        let proof = Proof::Password(Secret::from(args.word()));
        Outcome::LogIn(Credentials { mechanism: Mechanism::Pass, name, proof })
    }

    fn apop(&mut self, args: Args<'_>) -> Outcome {
        let Some(timestamp) = self.timestamp.clone() else {
            return Outcome::Reply(err_code(Code::Auth, "APOP is not offered here"));
        };
        let digest = args.second.unwrap_or_default().to_vec();
        let (name, proof) = (args.word().to_vec(), Proof::Apop { timestamp, digest });
        Outcome::LogIn(Credentials { mechanism: Mechanism::Apop, name, proof })
    }

    /// AUTH (RFC 5034 §4). PLAIN sends the password in the clear, and is allowed if PASS is.
    /// Without an argument AUTH lists the mechanisms.
    fn auth(&mut self, args: Args<'_>) -> Outcome {
        let Some(mechanism) = args.first else {
            let list = if self.plaintext { "PLAIN\r\n" } else { "" };
            return Outcome::Reply(format!("+OK mechanisms follow\r\n{list}.\r\n").into_bytes());
        };
        if !mechanism.eq_ignore_ascii_case(b"PLAIN") {
            return Outcome::Reply(err("AUTH: no such mechanism here"));
        }
        if !self.plaintext {
            return plaintext_refused();
        }
        match args.second {
            Some(response) => auth_plain(response),
            None => {
                self.awaits_response = true;
                Outcome::Reply(b"+ \r\n".to_vec())
            }
        }
    }

    /// Returns whether the next line is the response to AUTH's challenge.
    #[must_use]
    pub fn awaits_response(&self) -> bool {
        self.awaits_response
    }

    /// Handles the response to AUTH's challenge. `*` cancels (RFC 5034 §4). `None` means a line
    /// over the limit.
    pub fn response(&mut self, line: Option<&[u8]>) -> Outcome {
        self.awaits_response = false;
        match line {
            Some(b"*") => Outcome::Reply(err("AUTH: cancelled")),
            Some(line) => auth_plain(line),
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

fn auth_plain(response: &[u8]) -> Outcome {
    match sasl::plain(response) {
        Ok(Plain { name, password }) => Outcome::LogIn(Credentials {
            mechanism: Mechanism::Plain,
            name,
            proof: Proof::Password(password),
        }),
        Err(why) => Outcome::BadCommand(err(format_args!("AUTH: {why}"))),
    }
}

fn plaintext_refused() -> Outcome {
    Outcome::Reply(err_code(Code::Auth, "plaintext login is not allowed from here"))
}
