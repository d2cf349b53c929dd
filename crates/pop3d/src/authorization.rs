//! The AUTHORIZATION state (RFC 1939 §4, §7): USER and PASS, APOP, AUTH (RFC 5034), CAPA, QUIT.
//!
//! Who may log in how:
//! - USER and PASS show the password to everybody on the way, so they are allowed only where
//!   `--plaintext` says so; by default to clients on this machine.
//! - APOP shows no password, and is offered (by the timestamp in the greeting) while the users file
//!   has anybody with a `{PLAIN}` secret, for without the secret no digest can be checked. Where
//!   all passwords are hashed there is no timestamp, for clients that see one prefer it.
//! - AUTH PLAIN is allowed where PASS is. Some clients use APOP wherever there is a timestamp, unless
//!   there is AUTH: with it, users with hashed passwords get in beside users with `{PLAIN}` ones.
//! - RFC 1939 §13 asks that a user have either way and not both, because PASS would give APOP's
//!   secret away. Here a user with a `{PLAIN}` secret has both where PASS is allowed at all; by
//!   default that is where nobody listens.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{info, warn};
use mailstore::{
    AsOwner, Error, Login, MailPattern, Maildrop, User, Users, log_in, log_in_by_secret,
};

use crate::apop;
use crate::command::{Args, Entry, Shape};
use crate::protocol::Outcome;
use crate::reply::{Code, err, err_code, ok};
use crate::sasl::{self, Plain};
use crate::transaction::Transaction;

/// So many failed logins, and the session ends.
const MAX_FAILURES: u32 = 5;
/// How long a login waits for the lock of a maildrop: a session whose client has just gone is
/// about to free it.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks meanwhile.
const LOCK_STEP: Duration = Duration::from_millis(20);

/// What a session needs to know to let somebody in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The users file; read anew at each login.
    pub users: PathBuf,
    /// Where a user's mail lies.
    pub mail: MailPattern,
    /// Who may say his password in the clear.
    pub plaintext: Plaintext,
    /// How long after the command the reply to a failed login is sent.
    pub auth_delay: Duration,
}

/// `--plaintext`: who may say his password in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// Nobody.
    Never,
    /// Clients on this machine.
    Loopback,
    /// Everybody.
    Always,
}

impl Plaintext {
    /// Whether a client may, `local` telling that it is on this machine.
    #[must_use]
    pub fn allows(self, local: bool) -> bool {
        match self {
            Plaintext::Never => false,
            Plaintext::Loopback => local,
            Plaintext::Always => true,
        }
    }
}

/// The commands of this state.
pub const TABLE: &[Entry<Authorization>] = &[
    Entry { keyword: "USER", shape: Shape::One, run: Authorization::user },
    Entry { keyword: "PASS", shape: Shape::Verbatim, run: Authorization::pass },
    Entry { keyword: "APOP", shape: Shape::Two, run: Authorization::apop },
    Entry { keyword: "AUTH", shape: Shape::UpToTwo, run: Authorization::auth },
    Entry { keyword: "CAPA", shape: Shape::None, run: |_, _| Outcome::Capabilities },
    Entry { keyword: "QUIT", shape: Shape::None, run: |_, _| Outcome::Quit },
];

/// The commands that the other state does not know.
pub const KEYWORDS: &[&str] = &["USER", "PASS", "APOP", "AUTH"];

/// Whether anybody could log in by APOP now. A users file that cannot be read is no reason to say
/// so in the greeting: the login will tell.
#[must_use]
pub fn apop_is_offered(config: &Config) -> bool {
    Users::open(&config.users).and_then(|users| users.any_secret()).unwrap_or(false)
}

/// A session before its login.
pub struct Authorization {
    config: Config,
    peer: String,
    plaintext: bool,
    timestamp: Option<String>,
    /// The name of a USER that was this very command.
    named: Option<Vec<u8>>,
    /// The name of a USER that was the command before: PASS may only follow at once (§7).
    ready: Option<Vec<u8>>,
    /// AUTH has asked for a response: the next line is none of the commands.
    asked: bool,
    failures: u32,
}

impl Authorization {
    /// Nobody is named yet.
    #[must_use]
    pub fn new(
        config: Config,
        peer: String,
        plaintext: bool,
        timestamp: Option<String>,
    ) -> Authorization {
        let (named, ready) = (None, None);
        let (asked, failures) = (false, 0);
        Authorization { config, peer, plaintext, timestamp, named, ready, asked, failures }
    }

    /// Another command comes: a name given before the last one is forgotten.
    pub fn next_command(&mut self) {
        self.ready = self.named.take();
    }

    fn user(&mut self, args: Args<'_>) -> Outcome {
        if !self.plaintext {
            return no_plaintext();
        }
        // The same for every name: whether there is such a user is told to nobody (§13).
        self.named = Some(args.word().to_vec());
        Outcome::Say(ok("now PASS"))
    }

    fn pass(&mut self, args: Args<'_>) -> Outcome {
        if !self.plaintext {
            return no_plaintext();
        }
        let Some(name) = self.ready.take() else {
            return Outcome::Bad(err("PASS: USER comes right before"));
        };
        self.log_in("PASS", &name, |users| log_in(users, &name, args.word()))
    }

    fn apop(&mut self, args: Args<'_>) -> Outcome {
        let Some(timestamp) = self.timestamp.clone() else {
            return Outcome::Say(err_code(Code::Auth, "APOP is not offered here"));
        };
        let digest = args.second.unwrap_or_default();
        self.log_in("APOP", args.word(), |users| {
            log_in_by_secret(users, args.word(), |secret| apop::verify(&timestamp, secret, digest))
        })
    }

    /// AUTH (RFC 5034 §4). PLAIN shows the password as PASS does, and is allowed where PASS is;
    /// without a mechanism it lists those there are.
    fn auth(&mut self, args: Args<'_>) -> Outcome {
        let Some(mechanism) = args.first else {
            let list = if self.plaintext { "PLAIN\r\n" } else { "" };
            return Outcome::Say(format!("+OK mechanisms follow\r\n{list}.\r\n").into_bytes());
        };
        if !mechanism.eq_ignore_ascii_case(b"PLAIN") {
            return Outcome::Say(err("AUTH: no such mechanism here"));
        }
        if !self.plaintext {
            return no_plaintext();
        }
        match args.second {
            Some(response) => self.auth_plain(response),
            None => {
                self.asked = true;
                Outcome::Say(b"+ \r\n".to_vec())
            }
        }
    }

    /// Whether the next line is the response to AUTH's challenge.
    #[must_use]
    pub fn awaits_response(&self) -> bool {
        self.asked
    }

    /// The response to AUTH's challenge; `*` cancels (RFC 5034 §4). `None` is one that was too long.
    pub fn response(&mut self, line: Option<&[u8]>) -> Outcome {
        self.asked = false;
        match line {
            Some(b"*") => Outcome::Say(err("AUTH: cancelled")),
            Some(line) => self.auth_plain(line),
            None => Outcome::Bad(err("AUTH: the response is too long")),
        }
    }

    fn auth_plain(&mut self, response: &[u8]) -> Outcome {
        match sasl::plain(response) {
            Ok(Plain { name, password }) => {
                self.log_in("AUTH PLAIN", &name, |users| log_in(users, &name, &password))
            }
            Err(why) => Outcome::Bad(err(format_args!("AUTH: {why}"))),
        }
    }

    /// Checks who it is, then opens his maildrop.
    fn log_in(
        &mut self,
        how: &str,
        name: &[u8],
        check: impl FnOnce(&Users) -> mailstore::Result<Login>,
    ) -> Outcome {
        let due = Instant::now() + self.config.auth_delay;
        match Users::open(&self.config.users).and_then(|users| check(&users)) {
            Ok(Login::Welcome(user)) => self.open(&user),
            Ok(Login::Refused) => self.refuse(how, name, due),
            Err(error) => {
                warn!("{}: login of '{}': {error}", self.peer, name.escape_ascii());
                Outcome::Say(err_code(Code::Temporary, "nobody can log in now, try again later"))
            }
        }
    }

    fn refuse(&mut self, how: &str, name: &[u8], due: Instant) -> Outcome {
        self.failures += 1;
        info!("{}: login of '{}' failed ({how})", self.peer, name.escape_ascii());
        if self.failures >= MAX_FAILURES {
            info!("{}: {MAX_FAILURES} failed logins, session ended", self.peer);
            return Outcome::Banned(err_code(Code::Auth, "too many failed logins, goodbye"), due);
        }
        Outcome::Refused(err_code(Code::Auth, "wrong user name or password"), due)
    }

    fn open(&self, user: &User) -> Outcome {
        let name = user.name.escape_ascii();
        match self.config.mail.maildir(user).and_then(|path| open_as_owner(&path)) {
            Ok(maildrop) => Outcome::Welcome(Transaction::new(name.to_string(), maildrop)),
            Err(Error::InUse { what }) => {
                info!("{}: login of '{name}': {what} is in use by another session", self.peer);
                let why = "the maildrop is locked by another session";
                Outcome::Say(err_code(Code::InUse, why))
            }
            Err(error) => {
                warn!("{}: login of '{name}': {error}", self.peer);
                Outcome::Say(err_code(Code::of(&error), "the maildrop cannot be opened"))
            }
        }
    }
}

fn no_plaintext() -> Outcome {
    Outcome::Say(err_code(Code::Auth, "plaintext login is not allowed from here"))
}

/// Opens a maildrop with its owner's rights, which are the session's from then on.
fn open_as_owner(path: &Path) -> mailstore::Result<Maildrop> {
    let owner = AsOwner::of(path)?;
    let maildrop = open_patiently(path)?;
    owner.stay(path)?;
    Ok(maildrop)
}

/// Opens a maildrop, and waits a moment for its lock.
fn open_patiently(path: &Path) -> mailstore::Result<Maildrop> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match Maildrop::open(path) {
            Err(Error::InUse { .. }) if Instant::now() < until => std::thread::sleep(LOCK_STEP),
            other => return other,
        }
    }
}
