//! The daemon's own options.

use std::ffi::OsStr;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use accounts::{Accounts, NameCase, NameDomain, Names, Owner, Source, UsersFile};
use forknet::{Error, OwnOptions, Preset, Result, Row, Values};
use log::warn;
use mailstore::MailPattern;
use mailstore::accounts::password;

/// Largest `--auth-delay` in seconds, which bounds the time that a process waits.
const MAX_AUTH_DELAY: f64 = 60.0;
/// Longest password in bytes that fits after `PASS ` in a command line (RFC 2449 §4).
const MAX_PASSWORD: u64 = 248;

/// The values of the daemon's own options.
#[derive(Debug, Clone)]
pub struct Config {
    /// The users file, which is read again at each login.
    pub users: PathBuf,
    /// The path of a user's mail.
    pub mail: MailPattern,
    /// Which clients may send passwords in the clear.
    pub plaintext: Plaintext,
    /// Time from a failed login to its reply.
    pub auth_delay: Duration,
    /// Whose mailboxes are those of users without a uid.
    pub mail_user: Option<Owner>,
    /// How names are compared.
    pub names: Names,
    /// This machine's name in the greeting.
    pub host: String,
    /// Some user has a secret, as [`Config::start`] has found.
    pub offers_apop: bool,
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

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "users",
            value: "FILE",
            default: Preset::Value(UsersFile::DEFAULT),
            help: "users file, name:password:uid:gid:gecos:home:shell",
            manual: "The users and their passwords, in the format of forklore-users(5). It must be \
                a regular file with one link, no symbolic link, that belongs to root or to the \
                user who starts the server, that only its owner may write to, and, with passwords \
                in it, that not every user may read. Read again at each login. A session has the \
                rights of the user id and group id in it, never those of root.",
            ..Row::EMPTY
        },
        Row {
            name: "mail",
            value: "PATTERN",
            default: Preset::Value(MailPattern::DEFAULT),
            help: "where mail lies; ~ home, %u name",
            manual: "Where a user's Maildir is: '~' at the start is the home folder of the users \
                file, '%u' the user's name, '%%' a percent sign.",
            ..Row::EMPTY
        },
        Row {
            name: "mail-user",
            value: "U[:G]",
            help: "whose mailboxes are those of users without a user id",
            manual: "The user whose rights the sessions of users have that the users file gives no \
                user id, never root. Without it such users cannot log in to a server of root's.",
            ..Row::EMPTY
        },
        Row {
            name: "names",
            value: "HOW",
            default: Preset::Value("lower"),
            choices: &["lower", "as-is"],
            help: "how names are compared: lower or as-is",
            manual: "How names are compared: `lower` takes capitals as small letters, because \
                telephones capitalise, `as-is` does not.",
            ..Row::EMPTY
        },
        Row {
            name: "names-domain",
            value: "HOW",
            default: Preset::Value("keep"),
            choices: &["cut", "keep"],
            help: "what becomes of the domain in a name: cut or keep",
            manual: "What becomes of `@` and a domain in a name: `cut` takes them away, for mail \
                programs that send the whole address, `keep` keeps them as a part of the name.",
            ..Row::EMPTY
        },
        Row {
            name: "plaintext",
            value: "WHO",
            default: Preset::Value("loopback"),
            choices: &["never", "loopback", "always"],
            help: "who may send a password in the clear: never, loopback or always",
            manual: "Which clients may send a password in the clear (`PASS`, `AUTH PLAIN`): \
                `never` none, `loopback` those on this machine, `always` every client.",
            ..Row::EMPTY
        },
        Row {
            name: "auth-delay",
            value: "S",
            default: Preset::Value("1"),
            help: "seconds from a failed login to its reply",
            manual: "Send the reply to a failed login <s> seconds after the command, from 0 to 60, \
                however long the check took.",
            ..Row::EMPTY
        },
        Row {
            name: "hash",
            command_line_only: true,
            help: "read a password, print the field for the users file, and end",
            manual: "Read a password, print the field for the users file, and end. On a terminal \
                the password is asked for twice; else it is the first line of standard input. The \
                field is SHA-512 crypt with 50,000 rounds.",
            ..Row::EMPTY
        },
    ],
    notes: &[
        ("max-clients", "One more gets \"-ERR [SYS/TEMP] too many clients, try again later\"."),
        ("over", "it gets \"-ERR [SYS/TEMP] too many clients, try again later\""),
        (
            "chroot",
            "The users file and the Maildirs are inside, and relative names among them count from \
                <dir>.",
        ),
        ("transcript", "Passwords and digests are masked."),
        (
            "user",
            "It is the user of the processes that talk to clients, in an empty folder as their root. \
                After the login a session has a process with the rights of its own user, for good.",
        ),
    ],
};

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option that is wrong.
    pub fn read(values: &Values) -> Result<Config> {
        let plaintext = match values.choice("plaintext")? {
            "never" => Plaintext::Never,
            "always" => Plaintext::Always,
            _ => Plaintext::Loopback,
        };
        let auth_delay = values.seconds_within("auth-delay", 0.0..=MAX_AUTH_DELAY)?;
        Ok(Config {
            users: values.path("users")?.unwrap_or_default(),
            mail: mail(values)?,
            plaintext,
            auth_delay: auth_delay.unwrap_or_default(),
            mail_user: mail_user(values)?,
            names: Names {
                case: NameCase::parse(values.choice("names")?).unwrap_or_default(),
                domain: NameDomain::parse(values.choice("names-domain")?).unwrap_or_default(),
            },
            host: host(),
            offers_apop: false,
        })
    }

    /// Opens the accounts.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn source(&self) -> accounts::Result<Source> {
        UsersFile::open(&self.users).map(Source::File)
    }

    /// Checks that the users file can be read. Called at the start, so that a mistake is reported
    /// early, unless `--chroot` is yet to come.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn check(&self) -> Result<()> {
        self.source().map(drop).map_err(|error| refused(&error))
    }

    /// Looks at the accounts at the start, in the keeper: logs what is wrong with them, and returns what
    /// those must know who cannot look themselves ([`Config::set_facts`]).
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn start(&self) -> Result<Vec<u8>> {
        let users = UsersFile::open(&self.users).map_err(|error| refused(&error))?;
        users
            .check(self.names)
            .map_err(|error| refused(&error))?
            .iter()
            .for_each(|problem| warn!("{problem}"));
        let accounts = Accounts { source: Source::File(users), names: self.names };
        Ok(vec![u8::from(accounts.has_secret().map_err(|error| refused(&error))?)])
    }

    /// Takes what [`Config::start`] has returned.
    pub fn set_facts(&mut self, facts: &[u8]) {
        self.offers_apop = facts == [1];
    }
}

fn refused(error: &accounts::Error) -> Error {
    Error::Refused(error.to_string())
}

/// Returns the name of this machine for the greeting: letters, digits, dots and hyphens.
fn host() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let is_valid = |name: &String| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        (1..=255).contains(&name.len()) && name.bytes().all(known) // RFC 1035 §2.3.4
    };
    name.ok().filter(is_valid).unwrap_or_else(|| "localhost".to_owned())
}

fn mail_user(values: &Values) -> Result<Option<Owner>> {
    let Some(text) = values.text("mail-user") else { return Ok(None) };
    let (uid, gid) = forknet::user_ids(&text)?;
    if uid == 0 {
        return Err(values.at("mail-user", &text, "no session has root's rights"));
    }
    Ok(Some(Owner { uid, gid }))
}

fn mail(values: &Values) -> Result<MailPattern> {
    let text = values.text("mail").unwrap_or_default();
    MailPattern::parse(OsStr::new(&text)).map_err(|why| values.at("mail", &text, why))
}

/// `--hash`: returns the users file's field for a password from standard input. On a terminal,
/// prompts for it twice.
///
/// # Errors
/// [`Error::Refused`] if the password is empty, too long or has a NUL, or the two differ.
pub fn hash() -> Result<String> {
    let given = if io::stdin().is_terminal() { ask()? } else { first_line(io::stdin().lock())? };
    if given.len() as u64 > MAX_PASSWORD {
        let why = format!("the password is longer than {MAX_PASSWORD} bytes");
        return Err(Error::Refused(why));
    }
    if given.contains(&0) {
        return Err(Error::Refused("a NUL in the password, which no client can send".to_owned()));
    }
    password::hash(&given).map_err(|error| Error::Refused(error.to_string()))
}

fn ask() -> Result<Vec<u8>> {
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(Error::io("terminal"));
    let (once, again) = (ask("Password: ")?, ask("Again: ")?);
    if once != again {
        return Err(Error::Refused("the two passwords differ".to_owned()));
    }
    Ok(once.into_bytes())
}

/// Reads the first line without its LF or CRLF, up to one byte over the limit.
pub(crate) fn first_line(input: impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    input
        .take(MAX_PASSWORD + 3)
        .read_until(b'\n', &mut line)
        .map_err(Error::io("standard input"))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: [&str; 2]) -> Result<Config> {
        Config::read(&forknet::parse("pop3d", "", OPTIONS.rows, args.map(Into::into).to_vec())?)
    }

    #[test]
    fn a_wrong_value_is_named() {
        let defaults = config(["--mail", "~/Mail"]).unwrap();
        assert_eq!(defaults.plaintext, Plaintext::Loopback);
        assert_eq!(defaults.auth_delay, Duration::from_secs(1));
        let error = config(["--plaintext", "yes"]).unwrap_err().to_string();
        assert_eq!(error, "--plaintext 'yes': not never, loopback or always");
        for wrong in ["-1", "x", "NaN", "61", "1e9", ""] {
            let error = config(["--auth-delay", wrong]).unwrap_err().to_string();
            let told = format!("--auth-delay '{wrong}': not a number of seconds from 0 to 60");
            assert_eq!(error, told);
        }
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (input, expected) in
            [("a b \nnext", "a b "), ("x\r\n", "x"), ("no end", "no end"), ("", ""), ("\n", "")]
        {
            assert_eq!(first_line(input.as_bytes()).unwrap(), expected.as_bytes());
        }
    }
}
