//! The options of smtpd alone; those of every daemon are forknet's.

pub mod access;
pub mod facts;
pub mod guards;
pub mod hostname;
pub mod idna;

use std::path::PathBuf;
use std::sync::Arc;

use forknet::{Endpoint, Error, OwnOptions, Preset, Result, Row, Values};
use jiff::tz::TimeZone;
use maild::{Logins, MailOptions, rows};
use mailstore::MailKind;
use tls::ServerIdentity;

use facts::Facts;
use guards::Guards;
use hostname::{is_domain, machine_name};
use idna::to_ascii;

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
    /// Accounts and their mail.
    pub mail: MailOptions,
    /// The folder of letters that are too long for memory.
    pub spool: PathBuf,
    /// Largest letter in octets, as RFC 1870 counts them; 0 is no limit.
    pub max_size: u64,
    /// Most recipients of one letter.
    pub max_recipients: usize,
    /// What keeps unwanted clients and letters away.
    pub guards: Guards,
    /// Bytes that must stay free on the disk for MAIL to be accepted.
    pub min_free: u64,
    /// The user who receives the postmaster's mail when no user has that name.
    pub postmaster: Option<String>,
    /// Whether a bare LF in a letter is accepted as a line end.
    pub repair_bare_lf: bool,
    /// Whether a space between `FROM:` or `TO:` and the address is refused.
    pub strict_space: bool,
    /// Take nothing beyond the syntax of RFC 5321.
    pub strict: bool,
    /// Which clients may use VRFY.
    pub vrfy: Vrfy,
    /// Speak LMTP (RFC 2033).
    pub lmtp: bool,
    /// Who the server is under TLS, if it offers that.
    pub tls: Option<Arc<ServerIdentity>>,
    /// Where clients begin with TLS.
    pub listen_tls: Vec<Endpoint>,
    /// The time zone of `Received:`, read at the start because `--chroot` hides it later.
    pub zone: TimeZone,
}

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "hostname",
            value: "NAME",
            default: Preset::Rule("the machine's"),
            help: "our name",
            manual: "Our name in the greeting and in \"Received:\".",
            ..Row::EMPTY
        },
        Row {
            name: "domain",
            value: "D",
            default: Preset::Rule("the name of `--hostname`"),
            repeats: true,
            help: "a local domain; repeatable",
            manual: "A domain whose mail is for the users of the users file; in any case of \
                letters, and in UTF-8 or as DNS has it. May be given several times.",
            ..Row::EMPTY
        },
        Row {
            manual: "Who has a mailbox, in the format of forklore-users(5). It must be a regular file \
                with one link, no symbolic link, that belongs to root or to the user who starts the \
                server, that only its owner may write to, and, with passwords in it, that not every \
                user may read. Read again for each recipient and login, by the keeper's processes; which mechanisms are offered is \
                found out at the start and at SIGHUP. A letter is \
                stored with the rights of the user id and group id in it, never those of root. \
                `system` takes the accounts of passwd(5). It is needed beside `--checkpassword` and \
                `--auth-socket` too.",
            excludes: "",
            ..rows::USERS
        },
        rows::CHECKPASSWORD,
        Row { excludes: "checkpassword", ..rows::AUTH_SOCKET },
        rows::MAIL,
        rows::MAIL_USER,
        rows::NAMES,
        rows::NAMES_DOMAIN,
        rows::PLAINTEXT,
        rows::CHANNEL_BINDING,
        rows::AUTH_DELAY,
        tls::rows::CERT,
        tls::rows::KEY,
        tls::rows::LISTEN,
        Row {
            name: "spool",
            value: "DIR",
            default: Preset::Value("/var/tmp"),
            help: "where letters over 256 KiB wait for their end",
            manual: "The folder for letters over 256 KiB while they are received; shorter ones stay in \
                memory. The files have no names and go with the process that has them.",
            ..Row::EMPTY
        },
        Row {
            name: "max-size",
            value: "BYTES",
            default: Preset::Value("52428800"), // 50 MiB; RFC 1870 §3
            help: "largest letter; 0 = no limit",
            manual: "The largest letter, counted with CRLF line ends and without dot-stuffing; 0 \
                is no limit. A larger one is refused with 552, at `MAIL` if the client tells its \
                size there.",
            ..Row::EMPTY
        },
        Row {
            name: "max-recipients",
            value: "N",
            default: Preset::Value("1000"), // RFC 5321 §4.5.3.1.8; an administrator may choose less
            help: "recipients of a letter",
            manual: "Recipients of one letter; those beyond get 452, and the client may send the \
                letter again to them. RFC 5321 wants at least 100.",
            ..Row::EMPTY
        },
        guards::MAX_LETTERS,
        guards::GREET_PAUSE,
        guards::ACCESS,
        Row {
            name: "min-free",
            value: "BYTES",
            default: Preset::Value("262144"),
            help: "refuse letters when the disk has less left",
            manual: "Refuse letters for now, with 452, when the disk of the mailbox would have \
                less left, or no inode.",
            ..Row::EMPTY
        },
        Row {
            name: "postmaster",
            value: "USER",
            help: "who is postmaster (default root, or the first user)",
            manual: "Who gets the mail for 'postmaster', when no user has that name. The default \
                is root, or the first user of the file where it has no root.",
            ..Row::EMPTY
        },
        Row {
            name: "accept-bare-lf",
            help: "take LF alone for a line end in letters",
            manual: "Take LF alone for a line end within a letter, for old clients. It is never \
                part of the end of a letter. Otherwise a letter with a bare LF is refused with \
                550, as one with a bare CR is in any case.",
            ..Row::EMPTY
        },
        Row {
            name: "strict",
            help: "take nothing beyond the syntax of RFC 5321",
            manual: "Refuse with 501 what RFC 5321 does not allow and real clients send: addresses \
                without angle brackets, a space behind `FROM:` and `TO:`, senders with dots at an end of the \
                local part or next to each other, with underscores or a final dot in the \
                domain, `HELO` without a name, and names in `HELO` and `EHLO` that are neither a domain nor an \
                address literal. Without it all of these are taken; a name that is no atom stands in \
                `Received:` as a quoted word, or as `unknown`.",
            ..Row::EMPTY
        },
        Row {
            name: "strict-space",
            help: "refuse a space behind FROM: and TO:",
            manual: "Refuse a space behind `FROM:` and `TO:`, which RFC 5321 does not allow and \
                many clients send.",
            ..Row::EMPTY
        },
        Row {
            name: "lmtp",
            help: "speak LMTP (RFC 2033)",
            manual: "Speak LMTP (RFC 2033) in place of SMTP, with a mail server on this machine or in its network: \
                `LHLO` takes the place of `HELO` and `EHLO`, and after a letter each recipient has a reply of its own, so \
                that one mailbox that is full does not make the letter come again to the others. `--listen` is \
                needed, an address with another port than 25, which RFC 2033 forbids, or `unix:`<path>.",
            ..Row::EMPTY
        },
        Row {
            name: "vrfy",
            value: "WHO",
            default: Preset::Value("loopback"),
            choices: &["all", "loopback", "none"],
            help: "clients that VRFY answers: all, loopback, none",
            manual: "Whose `VRFY` is answered: `all`, `loopback` for clients on this machine, \
                `none`. The others get 252.",
            ..Row::EMPTY
        },
    ],
    notes: &[
        ("max-clients", "One more gets \"421 4.3.2\" and the reason."),
        ("over", "it gets \"421 4.3.2\" and that there are too many clients"),
        (
            "chroot",
            "The users file, the Maildirs and the files of TLS are inside, and relative names among them count from \
                <dir>. The time zone is read before.",
        ),
        (
            "mail",
            " A Maildir that is not there is made, in a folder of its user's or, for its user, in one that \
                only root can change; nothing is made on the way to it: where the home or the folder \
                of mailboxes is not there, letters are refused for now. `mbox:` is for pop3d alone yet.",
        ),
        (
            "checkpassword",
            " The program decides about `AUTH` alone: who has a mailbox says `--users`.",
        ),
        (
            "auth-socket",
            " The server decides about `AUTH` alone: who has a mailbox says `--users`.",
        ),
        ("plaintext", " It is about `AUTH PLAIN` and `AUTH LOGIN`."),
        ("transcript", "What follows the mechanism of an `AUTH` is masked."),
        (
            "user",
            "It is the user of the processes that talk to clients, in an empty folder as their root. A \
                letter is stored by a process with the rights of its recipient, for good.",
        ),
    ],
};

impl Config {
    /// Returns the domain of names that have none, and of users in replies.
    #[must_use]
    pub fn first_domain(&self) -> &str {
        self.domains.first().unwrap_or(&self.hostname)
    }

    /// Reads the options, and the machine's time zone.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option that is wrong.
    pub fn read(values: &Values) -> Result<Config> {
        let hostname = hostname(values)?;
        let domains = match values.texts("domain") {
            none if none.is_empty() => vec![hostname.clone()],
            some => some,
        };
        let domains: Vec<String> = domains.iter().map(|domain| ascii(domain)).collect();
        for domain in &domains {
            check_domain(values, "domain", domain)?;
        }
        let (tls, listen_tls) = tls::from_options(values)?.unzip();
        let mail = MailOptions::read(values)?;
        if mail.mail.kind() == MailKind::Mbox {
            let text = values.text("mail").unwrap_or_default();
            let why = "smtpd delivers to Maildirs only, not to an mbox yet";
            return Err(values.wrong("mail", &text, why));
        }
        Ok(Config {
            hostname,
            domains,
            mail,
            spool: values.path("spool")?.unwrap_or_default(),
            max_size: values.number("max-size", 0..=u64::MAX)?,
            max_recipients: values.number("max-recipients", 1..=usize::MAX)?,
            guards: Guards::read(values)?,
            min_free: values.number("min-free", 0..=u64::MAX)?,
            postmaster: values.text("postmaster"),
            repair_bare_lf: values.is_given("accept-bare-lf"),
            strict_space: values.is_given("strict-space") || values.is_given("strict"),
            strict: values.is_given("strict"),
            vrfy: match values.choice("vrfy")? {
                "all" => Vrfy::All,
                "none" => Vrfy::None,
                _ => Vrfy::Loopback,
            },
            lmtp: lmtp(values)?,
            tls,
            listen_tls: listen_tls.unwrap_or_default(),
            zone: TimeZone::system(),
        })
    }

    /// Checks that the accounts can be read, and have the user of `--postmaster`, and that it can be known
    /// who may log in. Called at the
    /// start, so that a mistake is reported early, unless `--chroot` is yet to come.
    ///
    /// # Errors
    /// `users FILE: reason`, `checkpassword PATH: reason`, or `--postmaster` names an unknown user.
    pub fn check(&self) -> Result<()> {
        let refused = |error: accounts::Error| Error::Refused(error.to_string());
        self.mail.check()?;
        let accounts = self.mail.accounts().map_err(refused)?;
        let Some(name) = &self.postmaster else { return Ok(()) };
        match accounts.account(name.as_bytes()).map_err(refused)? {
            Some(_) => Ok(()),
            None => Err(Error::Refused(format!("--postmaster '{name}': no such user"))),
        }
    }

    /// Looks at the accounts and the spool, with the keeper's rights, and logs what is wrong with them; returns a
    /// [`Facts`] for those who cannot look themselves.
    ///
    /// # Errors
    /// As [`Config::check`]; `access FILE:LINE: reason`.
    pub fn start(&self) -> Result<Vec<u8>> {
        let offer = self.mail.start()?;
        if self.mail.logins != Logins::Users {
            self.mail.warn_of_accounts()?;
        }
        self.check()?;
        let access = self.guards.access.as_deref().map_or(Ok(Vec::new()), access::read)?;
        if let Err(error) = self.spool.read_dir() {
            let (spool, why) = (self.spool.display(), forknet::reason(&error));
            log::warn!("spool {spool}: {why}: letters over 256 KiB will be refused for now");
        }
        Ok(Facts { offer, access }.encode())
    }
}

/// Reads `--lmtp`, which must not be on the port of SMTP (RFC 2033 §5), our default.
fn lmtp(values: &Values) -> Result<bool> {
    let given = values.is_given("lmtp");
    if !given || values.is_given("inetd") || std::env::var_os("LISTEN_FDS").is_some() {
        return Ok(given);
    }
    let listen = values.texts("listen");
    if !values.is_given("listen") || listen.iter().any(|text| text.ends_with(":25")) {
        let why = "not on port 25 (RFC 2033); --listen another one, or unix:PATH";
        return Err(values.error(format!("--lmtp: {why}")));
    }
    Ok(true)
}

fn hostname(values: &Values) -> Result<String> {
    let Some(name) = values.text("hostname") else { return Ok(machine_name()) };
    check_domain(values, "hostname", &name)?;
    Ok(name)
}

/// Returns a domain as DNS has it; what is none stays none.
fn ascii(domain: &str) -> String {
    String::from_utf8(to_ascii(domain.as_bytes())).unwrap_or_else(|_| domain.to_owned())
}

fn check_domain(values: &Values, option: &str, name: &str) -> Result<()> {
    match is_domain(name.as_bytes()) {
        true => Ok(()),
        false => Err(values.wrong(option, name, "not a domain")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config> {
        let args = args.iter().map(std::ffi::OsString::from).collect();
        let config = Config::read(&forknet::parse("smtpd", "", OPTIONS.rows, args)?)?;
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
            Ok(config) => {
                assert_eq!(config.mail.users, maild::Users::File("/etc/forklore/users".into()));
            }
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
