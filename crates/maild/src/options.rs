//! The options of accounts, read.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use accounts::sasl::{Binding, Bindings};
use accounts::{
    Accounts, Decoy, Guesses, LoginTimes, Mechanism, Mechanisms, NameCase, NameDomain, Names,
    Owner, Source, System, UsersFile, constant_time_eq,
};
use forknet::{Error, Result, Values};
use log::warn;
use mailstore::MailPattern;

use crate::auth_socket::AuthSocket;
use crate::check_program::CheckProgram;
use crate::token::TokenKey;

/// Largest `--auth-delay` in seconds, which bounds the time that a process waits.
const MAX_AUTH_DELAY: f64 = 60.0;
/// Largest `--login-delay` in seconds: a day.
const MAX_LOGIN_DELAY: f64 = 86_400.0;

/// The values of the options in [`crate::rows`].
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// Who has a mailbox.
    pub users: Users,
    /// Who may log in.
    pub logins: Logins,
    /// The path of a user's mail.
    pub mail: MailPattern,
    /// Whose mailboxes are those of users without a uid.
    pub mail_user: Option<Owner>,
    /// How names are compared.
    pub names: Names,
    /// Which clients may send passwords in the clear.
    pub plaintext: Plaintext,
    /// Whether a login can be bound to its TLS connection.
    pub channel_binding: bool,
    /// Time from a failed login to its reply.
    pub auth_delay: Duration,
    /// Shortest time from a login of a user to the next one, zero without a limit.
    pub login_delay: Duration,
    /// What makes up salts, since [`MailOptions::start`], in the keeper and those that it forks.
    decoy: OnceLock<Decoy>,
    /// What proves a login later, as `decoy`.
    token_key: OnceLock<TokenKey>,
    /// The failures of logins: the keeper's own; the processes that it forks have a copy.
    guesses: OnceLock<Arc<Mutex<Guesses>>>,
    /// The last logins, where they are limited, as `guesses`.
    login_times: OnceLock<Arc<Mutex<LoginTimes>>>,
}

/// Where accounts come from. They are opened again for each question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// `--users FILE`.
    File(PathBuf),
    /// `--users system`.
    System,
}

/// Who may log in, where that is not the accounts' matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logins {
    /// The users, by the passwords of their accounts.
    Users,
    /// `--checkpassword`: the program with its arguments, and ours, which it runs.
    Program(CheckProgram),
    /// `--auth-socket`.
    Socket(AuthSocket),
}

/// `--plaintext`: which clients may send passwords in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// No client.
    Never,
    /// Clients on this machine.
    Loopback,
    /// Every client.
    Always,
}

impl Plaintext {
    /// Returns whether a client may send passwords in the clear. `is_loopback` means that it is on
    /// this machine.
    #[must_use]
    pub fn allows(self, is_loopback: bool) -> bool {
        match self {
            Plaintext::Never => false,
            Plaintext::Loopback => is_loopback,
            Plaintext::Always => true,
        }
    }
}

/// What some user could log in by: what the processes that talk to clients know of the accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// SASL mechanisms.
    pub mechanisms: Mechanisms,
    /// Some user has a `{PLAIN}` secret, so that APOP is worth its timestamp.
    pub apop: bool,
}

impl Offer {
    /// Returns the mechanisms that a client can use. Those that send the password are offered where that is
    /// allowed, whatever the accounts are, because users may be added while the server runs; the one with a
    /// channel binding where the connection has one.
    #[must_use]
    pub fn for_client(&self, plaintext: bool, bindings: &Bindings) -> Mechanisms {
        let is_usable = |mechanism: &Mechanism| match mechanism {
            Mechanism::Plain | Mechanism::Login => plaintext,
            Mechanism::ScramSha256Plus => !bindings.is_empty(),
            _ => true,
        };
        self.mechanisms.union(Mechanisms::by_password()).iter().filter(is_usable).collect()
    }

    /// As [`Offer::for_client`], without those that send the password where no user has one.
    #[must_use]
    pub fn usable(&self, plaintext: bool, bindings: &Bindings) -> Mechanisms {
        self.mechanisms.intersection(self.for_client(plaintext, bindings))
    }

    /// Returns the text by which the keeper tells of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let apop = if self.apop { "APOP" } else { "" };
        format!("{apop} {}", self.mechanisms).into_bytes()
    }

    /// Reads the text.
    #[must_use]
    pub fn decode(text: &[u8]) -> Offer {
        Offer { mechanisms: Mechanisms::parse(text), apop: text.starts_with(b"APOP ") }
    }
}

impl MailOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option that is wrong.
    pub fn read(values: &Values) -> Result<MailOptions> {
        let auth_delay = values.seconds_within("auth-delay", 0.0..=MAX_AUTH_DELAY)?;
        Ok(MailOptions {
            users: users(values)?,
            logins: logins(values)?,
            mail: mail(values)?,
            mail_user: mail_user(values)?,
            names: Names {
                case: NameCase::parse(values.choice("names")?).unwrap_or_default(),
                domain: NameDomain::parse(values.choice("names-domain")?).unwrap_or_default(),
            },
            plaintext: match values.choice("plaintext")? {
                "never" => Plaintext::Never,
                "always" => Plaintext::Always,
                _ => Plaintext::Loopback,
            },
            channel_binding: values.is_given("channel-binding"),
            auth_delay: auth_delay.unwrap_or_default(),
            login_delay: login_delay(values)?,
            decoy: OnceLock::new(),
            token_key: OnceLock::new(),
            guesses: OnceLock::new(),
            login_times: OnceLock::new(),
        })
    }

    /// Returns what a login can be bound to, for a connection with this exporter (RFC 9266): nothing without
    /// `--channel-binding`, and without TLS 1.3.
    #[must_use]
    pub fn bindings(&self, exporter: Option<&[u8]>) -> Bindings {
        let exporter = exporter.filter(|_| self.channel_binding).unwrap_or_default();
        Bindings::default().with(Binding::Exporter, exporter)
    }

    /// Opens the accounts of `--users`.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn accounts(&self) -> accounts::Result<Accounts> {
        let source = match &self.users {
            Users::File(path) => Source::File(UsersFile::open(path)?),
            Users::System => Source::System(System::open()?),
        };
        Ok(Accounts { source, names: self.names })
    }

    /// Checks that it can be known who may log in. Called at the start, so that a mistake is reported
    /// early, unless `--chroot` is yet to come.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn check(&self) -> Result<()> {
        match &self.logins {
            Logins::Program(program) => program.check(),
            Logins::Socket(_) => Ok(()), // its server may start later
            Logins::Users => self.accounts().map(drop).map_err(|error| refused(&error)),
        }
    }

    /// Looks at the accounts at the start, in the keeper, and again after SIGHUP: logs what is wrong with them, and returns what
    /// those must know who cannot look themselves.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn start(&self) -> Result<Offer> {
        mailstore::prepare();
        if self.decoy.get().is_none() {
            let decoy = Decoy::new().map_err(|error| refused(&error))?;
            self.decoy.get_or_init(|| decoy);
        }
        if self.token_key.get().is_none() {
            let key = TokenKey::new().map_err(|error| refused(&error))?;
            self.token_key.get_or_init(|| key);
        }
        self.guesses.get_or_init(|| Arc::new(Mutex::new(Guesses::new(Instant::now()))));
        if !self.login_delay.is_zero() {
            self.login_times.get_or_init(|| Arc::new(Mutex::new(LoginTimes::new(Instant::now()))));
        }
        Ok(match &self.logins {
            Logins::Program(program) => {
                program.check()?;
                Offer { mechanisms: Mechanisms::by_password(), apop: false }
            }
            Logins::Socket(socket) => Offer { mechanisms: socket.mechanisms(), apop: false },
            Logins::Users => self.offer_of_accounts()?,
        })
    }

    /// Logs what is wrong with the accounts.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn warn_of_accounts(&self) -> Result<()> {
        self.looked_through().map(drop)
    }

    fn looked_through(&self) -> Result<Accounts> {
        let accounts = self.accounts().map_err(|error| refused(&error))?;
        if let Source::File(users) = &accounts.source {
            let problems = users.check(self.names).map_err(|error| refused(&error))?;
            problems.iter().for_each(|problem| warn!("{problem}"));
        }
        Ok(accounts)
    }

    fn offer_of_accounts(&self) -> Result<Offer> {
        let accounts = self.looked_through()?;
        Ok(Offer {
            mechanisms: accounts.mechanisms().map_err(|error| refused(&error))?,
            apop: accounts.has_secret().map_err(|error| refused(&error))?,
        })
    }

    /// Whether logins are another program's matter, to which the exchanges of AUTH are passed on.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        matches!(self.logins, Logins::Socket(_))
    }

    /// Returns the failures of logins; `None` in a process that is neither the keeper nor forked by it.
    pub(crate) fn guesses(&self) -> Option<&Mutex<Guesses>> {
        self.guesses.get().map(|guesses| &**guesses)
    }

    /// Returns the last logins, where they are limited, as [`MailOptions::guesses`].
    pub(crate) fn login_times(&self) -> Option<&Mutex<LoginTimes>> {
        self.login_times.get().map(|times| &**times)
    }

    /// Returns the token of a user who has logged in; empty in a process that is neither the keeper nor forked by it.
    #[must_use]
    pub fn token(&self, name: &[u8]) -> Vec<u8> {
        let token = self.token_key.get().and_then(|key| key.token(name));
        token.map(Vec::from).unwrap_or_default()
    }

    /// Returns whether a token says that this user has logged in.
    #[must_use]
    pub fn has_logged_in(&self, name: &[u8], token: &[u8]) -> bool {
        let own = self.token_key.get().and_then(|key| key.token(name));
        own.is_some_and(|own| constant_time_eq(&own, token))
    }

    /// Returns what makes up salts.
    pub(crate) fn decoy(&self) -> accounts::Result<Decoy> {
        self.decoy.get().map_or_else(Decoy::new, |decoy| Ok(decoy.clone()))
    }
}

fn refused(error: &accounts::Error) -> Error {
    Error::Refused(error.to_string())
}

fn logins(values: &Values) -> Result<Logins> {
    let given = |name| values.knows(name).then(|| values.text(name)).flatten();
    if let Some(text) = given("checkpassword") {
        let program = CheckProgram::parse(&text);
        return program
            .map(Logins::Program)
            .map_err(|why| values.wrong("checkpassword", &text, why));
    }
    if let Some(text) = given("auth-socket") {
        let path = values.path("auth-socket")?.unwrap_or_default();
        let socket = AuthSocket::new(&path, values.program());
        return socket.map(Logins::Socket).map_err(|why| values.wrong("auth-socket", &text, why));
    }
    Ok(Logins::Users)
}

/// Reads `--login-delay`, which not every daemon has.
fn login_delay(values: &Values) -> Result<Duration> {
    if !values.knows("login-delay") {
        return Ok(Duration::ZERO);
    }
    let delay = values.seconds_within("login-delay", 0.0..=MAX_LOGIN_DELAY)?;
    Ok(delay.unwrap_or_default())
}

fn users(values: &Values) -> Result<Users> {
    match values.text("users").as_deref() {
        Some("system") => Ok(Users::System),
        _ => Ok(Users::File(values.path("users")?.unwrap_or_default())),
    }
}

fn mail_user(values: &Values) -> Result<Option<Owner>> {
    let Some(text) = values.text("mail-user") else { return Ok(None) };
    let (uid, gid) = forknet::user_ids(&text)?;
    if uid == 0 {
        return Err(values.wrong("mail-user", &text, "no session has root's rights"));
    }
    Ok(Some(Owner { uid, gid }))
}

fn mail(values: &Values) -> Result<MailPattern> {
    let text = values.text("mail").unwrap_or_default();
    MailPattern::parse(OsStr::new(&text)).map_err(|why| values.at("mail", &text, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    fn read(args: [&str; 2]) -> Result<MailOptions> {
        const ROWS: &[forknet::Row] = &[
            rows::USERS,
            rows::MAIL,
            rows::MAIL_USER,
            rows::NAMES,
            rows::NAMES_DOMAIN,
            rows::PLAINTEXT,
            rows::AUTH_DELAY,
            rows::CHANNEL_BINDING,
        ];
        MailOptions::read(&forknet::parse("maild", "", ROWS, args.map(Into::into).to_vec())?)
    }

    #[test]
    fn a_wrong_value_is_named() {
        let defaults = read(["--mail", "~/Mail"]).unwrap();
        assert_eq!(defaults.plaintext, Plaintext::Loopback);
        assert_eq!(defaults.auth_delay, Duration::from_secs(1));
        assert_eq!(defaults.logins, Logins::Users);
        assert_eq!(defaults.users, Users::File("/etc/forklore/users".into()));
        assert_eq!(read(["--users", "system"]).unwrap().users, Users::System);
        let error = read(["--plaintext", "yes"]).unwrap_err().to_string();
        assert_eq!(error, "--plaintext 'yes': not never, loopback or always");
        for wrong in ["-1", "x", "NaN", "61", "1e9", ""] {
            let error = read(["--auth-delay", wrong]).unwrap_err().to_string();
            let told = format!("--auth-delay '{wrong}': not a number of seconds from 0 to 60");
            assert_eq!(error, told);
        }
    }

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        for (apop, mechanisms) in [(true, Mechanisms::all()), (false, Mechanisms::default())] {
            let offer = Offer { mechanisms, apop };
            assert_eq!(Offer::decode(&offer.encode()), offer);
        }
        assert_eq!(Offer::decode(b""), Offer::default());
    }
}
