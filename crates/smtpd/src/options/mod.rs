//! The options of smtpd alone; those of every daemon are forknet's.

pub mod hostname;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use forknet::{Error, Model, Result, number};
use getopts::{Matches, Options};
use jiff::tz::TimeZone;
use mailstore::accounts::Users;
use mailstore::{MailPattern, SharedBy};

use hostname::{is_domain, machine_name};

/// Default of `--max-size`: largest letter in octets (RFC 1870 §3), 50 MiB.
const MAX_SIZE: u64 = 50 << 20;
/// Default of `--max-recipients`: recipients of one letter. RFC 5321 §4.5.3.1.8 demands at least
/// 100, but an administrator may choose less.
const MAX_RECIPIENTS: usize = 1000;
/// Default of `--min-free`: bytes that must stay free on the disk.
const MIN_FREE: u64 = 256 << 10;

/// `--vrfy`: which clients may use VRFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vrfy {
    /// Every client.
    All,
    /// Clients on this machine; others get 252.
    Loopback,
    /// No client.
    None,
}

/// The values of the options.
#[derive(Debug, Clone)]
pub struct Config {
    /// This host's name in the greeting and in `Received:`.
    pub hostname: String,
    /// The local domains.
    pub domains: Vec<String>,
    /// The users file.
    pub users: PathBuf,
    /// The path of a user's mail.
    pub mail: MailPattern,
    /// Largest letter in octets, as RFC 1870 counts them; 0 is no limit.
    pub max_size: u64,
    /// Most recipients of one letter.
    pub max_recipients: usize,
    /// Bytes that must stay free on the disk for MAIL to be accepted.
    pub min_free: u64,
    /// The user who receives the postmaster's mail when no user has that name.
    pub postmaster: Option<String>,
    /// Whether a bare LF in a letter is accepted as a line end.
    pub repair_bare_lf: bool,
    /// Whether a space between `FROM:` or `TO:` and the address is refused.
    pub strict_space: bool,
    /// Which clients may use VRFY.
    pub vrfy: Vrfy,
    /// The time zone of `Received:`, read at the start because `--chroot` hides it later.
    pub zone: TimeZone,
}

/// Declares the options.
pub fn declare(options: &mut Options) {
    let users = format!("users file, shaped like passwd(5) (default {})", Users::DEFAULT);
    let mail = format!("where mail lies; ~ home, %u name (default {})", MailPattern::DEFAULT);
    let size = format!("largest letter; 0 = no limit (default {MAX_SIZE})");
    let recipients = format!("recipients of a letter (default {MAX_RECIPIENTS})");
    let free = format!("refuse letters when the disk has less left (default {MIN_FREE})");
    options.optopt("", "hostname", "our name (default: the machine's)", "NAME");
    options.optmulti("", "domain", "a local domain; repeatable (default: --hostname)", "D");
    options.optopt("", "users", &users, "FILE");
    options.optopt("", "mail", &mail, "PATTERN");
    options.optopt("", "max-size", &size, "BYTES");
    options.optopt("", "max-recipients", &recipients, "N");
    options.optopt("", "min-free", &free, "BYTES");
    options.optopt("", "postmaster", "who is postmaster (default root, or the first user)", "USER");
    options.optflag("", "accept-bare-lf", "take LF alone for a line end in letters");
    options.optflag("", "strict-space", "refuse a space behind FROM: and TO:");
    options.optopt("", "vrfy", "whom VRFY answers: all, loopback, none (default all)", "WHO");
}

impl Config {
    /// Reads the options, and the machine's time zone.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option that is wrong.
    pub fn read(matches: &Matches) -> Result<Config> {
        let hostname = hostname(matches)?;
        let domains = match matches.opt_strs("domain") {
            none if none.is_empty() => vec![hostname.clone()],
            some => some,
        };
        for domain in &domains {
            check_domain("domain", domain)?;
        }
        let users = matches.opt_str("users").unwrap_or_else(|| Users::DEFAULT.into());
        // Absolute, because a daemon changes to `/`.
        let users = std::path::absolute(Path::new(&users))
            .map_err(|source| Error::Io { what: format!("users {users}"), source })?;
        Ok(Config {
            hostname,
            domains,
            users,
            mail: pattern(matches)?,
            max_size: number(matches, "max-size", 0..=u64::MAX)?.unwrap_or(MAX_SIZE),
            max_recipients: number(matches, "max-recipients", 1..=usize::MAX)?
                .unwrap_or(MAX_RECIPIENTS),
            min_free: number(matches, "min-free", 0..=u64::MAX)?.unwrap_or(MIN_FREE),
            postmaster: matches.opt_str("postmaster"),
            repair_bare_lf: matches.opt_present("accept-bare-lf"),
            strict_space: matches.opt_present("strict-space"),
            vrfy: vrfy(matches)?,
            zone: TimeZone::system(),
        })
    }

    /// Checks that the users file can be read, and has the user of `--postmaster`. Called at the
    /// start, so that a mistake is reported early, unless `--chroot` is yet to come; and again
    /// after the privileges are dropped, because the server's user may not read what root can.
    ///
    /// # Errors
    /// `users FILE: reason`, or `--postmaster` names an unknown user.
    pub fn check(&self) -> Result<()> {
        let refused = |error: mailstore::Error| Error::Refused(error.to_string());
        let users = Users::open(&self.users).map_err(refused)?;
        let Some(name) = &self.postmaster else { return Ok(()) };
        match users.find(name.as_bytes()).map_err(refused)? {
            Some(_) => Ok(()),
            None => Err(Error::Refused(format!("--postmaster '{name}': no such user"))),
        }
    }
}

/// Returns how a model shares its processes, for the rights that deliveries take.
#[must_use]
pub fn shared_by(model: Model) -> SharedBy {
    match model {
        Model::Fork | Model::Prefork => SharedBy::OneSession,
        Model::Iterative => SharedBy::Sequential,
        Model::Thread => SharedBy::Concurrent,
    }
}

fn hostname(matches: &Matches) -> Result<String> {
    let Some(name) = matches.opt_str("hostname") else { return Ok(machine_name()) };
    check_domain("hostname", &name)?;
    Ok(name)
}

fn check_domain(option: &str, name: &str) -> Result<()> {
    if is_domain(name.as_bytes()) {
        return Ok(());
    }
    Err(Error::Usage(format!("--{option} '{}': not a domain", name.escape_debug())))
}

fn pattern(matches: &Matches) -> Result<MailPattern> {
    let text = matches.opt_str("mail").unwrap_or_else(|| MailPattern::DEFAULT.into());
    MailPattern::parse(OsStr::new(&text)).map_err(|e| Error::Usage(format!("--mail {e}")))
}

fn vrfy(matches: &Matches) -> Result<Vrfy> {
    match matches.opt_str("vrfy").as_deref() {
        None | Some("all") => Ok(Vrfy::All),
        Some("loopback") => Ok(Vrfy::Loopback),
        Some("none") => Ok(Vrfy::None),
        Some(other) => Err(Error::Usage(format!("--vrfy '{other}': not all, loopback or none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config> {
        let mut options = Options::new();
        declare(&mut options);
        let config = Config::read(&options.parse(args).unwrap())?;
        config.check().map(|()| config)
    }

    fn complaint(args: &[&str]) -> String {
        read(args).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let dir = testkit::TempDir::new();
        let users = dir.file("users", "").display().to_string();
        let config = read(&["--users", &users, "--hostname", "red.test"]).unwrap();
        assert_eq!(config.domains, ["red.test"]);
        assert_eq!((config.max_size, config.max_recipients), (52_428_800, 1000));
        assert!(!config.repair_bare_lf && !config.strict_space);
    }

    #[test]
    fn the_users_file_is_that_of_all_daemons_unless_told_otherwise() {
        match read(&[]) {
            Ok(config) => assert_eq!(config.users, Path::new("/etc/forklore/users")),
            Err(error) => {
                let text = error.to_string();
                assert!(text.starts_with("users /etc/forklore/users: "), "{text}");
            }
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        assert_eq!(complaint(&["--users", "/no/f"]), "users /no/f: No such file or directory");
        let dir = testkit::TempDir::new();
        let users = dir.file("users", "").display().to_string();
        for args in [
            ["--hostname", "a..b"],
            ["--domain", "a b"],
            ["--max-size", "-1"],
            ["--max-recipients", "0"],
            ["--min-free", "x"],
            ["--vrfy", "me"],
            ["--mail", "~x"],
            ["--postmaster", "nobody-of-that-name"],
        ] {
            let text = complaint(&["--users", &users, args[0], args[1]]);
            assert!(text.starts_with(args[0]), "{text}");
        }
    }
}
