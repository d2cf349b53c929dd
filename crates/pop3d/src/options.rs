//! The daemon's own options.

use std::ffi::OsStr;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forknet::{CommandLine, Error, Model, Result};
use getopts::{Matches, Options};
use mailstore::{MailPattern, Sharing, Users, password};

use crate::authorization::{Config, Plaintext};

/// How long the reply to a failed login is kept back unless `--auth-delay` says otherwise.
const AUTH_DELAY: Duration = Duration::from_secs(1);
/// Seconds; more than this would keep a process for nothing.
const MAX_AUTH_DELAY: f64 = 60.0;
/// The longest password read by `--hash`: what fits behind `PASS ` in a command line.
const PASSWORD_LIMIT: u64 = 248;

/// Adds the options that only this daemon has.
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

/// Reads them. The users file must be there and readable; with `--chroot`, which is yet to come,
/// that cannot be seen now.
///
/// # Errors
/// [`Error::Usage`] names the option that is wrong; `users FILE: reason`.
pub fn config(line: &CommandLine) -> Result<Config> {
    let config = read(&line.matches)?;
    if line.server.chroot.is_none() {
        check(&config.users)?;
    }
    sharing(line.server.model).of_this_process();
    Ok(config)
}

fn sharing(model: Model) -> Sharing {
    match model {
        Model::Fork | Model::Prefork => Sharing::Nobody, // a worker that became its user ends
        Model::Iterative => Sharing::Later,
        Model::Thread => Sharing::Others,
    }
}

fn read(matches: &Matches) -> Result<Config> {
    let users =
        PathBuf::from(matches.opt_str("users").unwrap_or_else(|| Users::DEFAULT.to_owned()));
    let mail = matches.opt_str("mail").unwrap_or_else(|| MailPattern::DEFAULT.to_owned());
    let mail = MailPattern::parse(OsStr::new(&mail))
        .map_err(|error| Error::Usage(format!("--mail {error}")))?;
    let plaintext = plaintext(matches.opt_str("plaintext").as_deref())?;
    let auth_delay = forknet::seconds_within(matches, "auth-delay", 0.0..=MAX_AUTH_DELAY)?;
    let auth_delay = auth_delay.unwrap_or(AUTH_DELAY);
    // Absolute, because a daemon goes to `/`.
    let users = std::path::absolute(users).map_err(Error::io("--users"))?;
    Ok(Config { users, mail, plaintext, auth_delay })
}

/// The users file can be opened and read now. Asked again after the privileges are dropped: what
/// root can read is not always what the server's user can.
///
/// # Errors
/// `users FILE: reason`.
pub fn check(users: &Path) -> Result<()> {
    let readable = Users::open(users).and_then(|users| users.any());
    readable.map(|_| ()).map_err(|error| Error::Refused(error.to_string()))
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

/// `--hash`: the field for a password that is read from standard input, or asked for twice where
/// that is a terminal.
///
/// # Errors
/// [`Error::Refused`] for a password that is empty, overlong or has a NUL, or for two that differ.
pub fn hash() -> Result<String> {
    let given = if io::stdin().is_terminal() { ask()? } else { first_line(io::stdin().lock())? };
    if given.len() as u64 > PASSWORD_LIMIT {
        let why = format!("the password is longer than {PASSWORD_LIMIT} octets");
        return Err(Error::Refused(why));
    }
    if given.contains(&0) {
        return Err(Error::Refused("a NUL in the password: no client could say it".to_owned()));
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

/// The first line without its LF or CRLF, and one octet over the limit at most.
pub(crate) fn first_line(input: impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    input
        .take(PASSWORD_LIMIT + 3)
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
            let error = read(&matches).unwrap_err().to_string();
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
