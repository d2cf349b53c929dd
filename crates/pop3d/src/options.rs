//! The daemon's own options.

use std::ffi::OsStr;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use forknet::{Error, Model, Result};
use getopts::{Matches, Options};
use mailstore::accounts::{Users, password};
use mailstore::{MailPattern, SharedBy};

/// Default of `--auth-delay`: time from a failed login to its reply.
const AUTH_DELAY: Duration = Duration::from_secs(1);
/// Longest `--auth-delay`, in seconds, because the process waits for it.
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

/// Declares the daemon's own options.
pub fn declare(options: &mut Options) {
    let fields = "name:password:uid:gid:gecos:home:shell";
    let users = format!("users file, {fields} (default {})", Users::DEFAULT);
    options.optopt("", "users", &users, "FILE");
    let mail = format!("where mail lies; ~ home, %u name (default {})", MailPattern::DEFAULT);
    options.optopt("", "mail", &mail, "PATTERN");
    let plaintext = "who may say his password in the clear: never, loopback or always \
                     (default loopback)";
    options.optopt("", "plaintext", plaintext, "WHO");
    let delay =
        format!("seconds from a failed login to its reply (default {})", AUTH_DELAY.as_secs_f64());
    options.optopt("", "auth-delay", &delay, "S");
    options.optflag("", "hash", "read a password, print the field for the users file, and end");
}

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option that is wrong.
    pub fn read(matches: &Matches) -> Result<Config> {
        let users =
            PathBuf::from(matches.opt_str("users").unwrap_or_else(|| Users::DEFAULT.to_owned()));
        let mail = matches.opt_str("mail").unwrap_or_else(|| MailPattern::DEFAULT.to_owned());
        let mail = MailPattern::parse(OsStr::new(&mail))
            .map_err(|error| Error::Usage(format!("--mail {error}")))?;
        let plaintext = plaintext(matches.opt_str("plaintext").as_deref())?;
        let auth_delay = forknet::seconds_within(matches, "auth-delay", 0.0..=MAX_AUTH_DELAY)?;
        let auth_delay = auth_delay.unwrap_or(AUTH_DELAY);
        // Absolute, because a daemon changes to `/`.
        let users = std::path::absolute(users).map_err(Error::io("--users"))?;
        Ok(Config { users, mail, plaintext, auth_delay })
    }

    /// Checks that the users file can be read. Called at the start, so that a mistake is reported
    /// early, unless `--chroot` is yet to come; and again after the privileges are dropped, because
    /// the server's user may not read what root can.
    ///
    /// # Errors
    /// `users FILE: reason`.
    pub fn check(&self) -> Result<()> {
        let readable = Users::open(&self.users).and_then(|users| users.has_user());
        readable.map(|_| ()).map_err(|error| Error::Refused(error.to_string()))
    }
}

/// Returns how a model shares its processes, for the rights that sessions take.
#[must_use]
pub fn shared_by(model: Model) -> SharedBy {
    match model {
        Model::Fork | Model::Prefork => SharedBy::OneSession, // a worker that changed its user ends
        Model::Iterative => SharedBy::Sequential,
        Model::Thread => SharedBy::Concurrent,
    }
}

fn plaintext(text: Option<&str>) -> Result<Plaintext> {
    match text {
        None | Some("loopback") => Ok(Plaintext::Loopback),
        Some("never") => Ok(Plaintext::Never),
        Some("always") => Ok(Plaintext::Always),
        Some(other) => {
            Err(Error::Usage(format!("--plaintext '{other}': not never, loopback or always")))
        }
    }
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

    #[test]
    fn a_wrong_value_is_named() {
        assert_eq!(plaintext(None).unwrap(), Plaintext::Loopback);
        assert!(plaintext(Some("yes")).unwrap_err().to_string().contains("'yes'"));
        let mut options = Options::new();
        declare(&mut options);
        for wrong in ["-1", "x", "NaN", "61", "1e9", ""] {
            let matches = options.parse(["--auth-delay", wrong]).unwrap();
            let error = Config::read(&matches).unwrap_err().to_string();
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
