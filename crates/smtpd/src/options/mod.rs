//! The options of smtpd alone; those of every daemon are forknet's.

pub mod access;
mod deliver;
pub mod facts;
pub mod guards;
pub mod hostname;
pub mod milters;
mod relay;
mod rows;
pub mod terminal;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use accounts::{NameCase, NameDomain, Owner};
use dns::to_ascii;
use forknet::{Endpoint, Error, Result, Values};
use jiff::tz::TimeZone;
use maild::{Logins, MailOptions};
use mailstore::Aliases;
use tls::ServerIdentity;

use crate::duplicates::Duplicates;
pub use deliver::LmtpServer;
use facts::Facts;
use guards::Guards;
use hostname::{is_domain, machine_name};
pub use relay::{QueueOptions, Relay};
use terminal::Terminals;

pub use rows::OPTIONS;

/// Domains of users that are named at the start because they are not ours, a number.
const MAX_FOREIGN: usize = 10;

/// Most recipients that `--max-recipients` may allow: the answer about all of them is one message of 16 KiB.
const MAX_RECIPIENTS: usize = 16_000;

/// `--vrfy`: which clients may use VRFY and EXPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vrfy {
    /// Every client.
    All,
    /// Clients on this machine; others get 252 and 502.
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
    /// The file of names that lead elsewhere (aliases(5)).
    pub aliases: Option<PathBuf>,
    /// The byte between a user's name and a sub-address; `None` for no sub-addresses.
    pub delimiter: Option<u8>,
    /// The command that delivers, in place of mailboxes.
    pub mda: Option<Vec<u8>>,
    /// The server that gets the mail of users, in place of mailboxes.
    pub lmtp_server: Option<LmtpServer>,
    /// Whose rights the process has that talks to it.
    pub lmtp_owner: Option<Owner>,
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
    /// Which clients may use VRFY and EXPN.
    pub vrfy: Vrfy,
    /// Speak LMTP (RFC 2033).
    pub lmtp: bool,
    /// Where SEND, SOML and SAML find terminals, if they are done.
    pub terminal: Option<Terminals>,
    /// Mail that goes elsewhere.
    pub relay: Relay,
    /// `--submission`: serve mail programs, whose users log in.
    pub is_submission: bool,
    /// Who the server is under TLS, if it offers that.
    pub tls: Option<Arc<ServerIdentity>>,
    /// Where clients begin with TLS.
    pub listen_tls: Vec<Endpoint>,
    /// The time zone of `Received:`, read at the start because `--chroot` hides it later.
    pub zone: TimeZone,
    /// Who has letters that come again.
    pub duplicates: Duplicates,
}

impl Config {
    /// Returns the domain of names that have none, and of users in replies.
    #[must_use]
    pub fn first_domain(&self) -> &str {
        self.domains.first().unwrap_or(&self.hostname)
    }

    /// Returns whether letters can be sent to addresses elsewhere.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        self.relay.queue.is_some()
    }

    /// Returns whether VRFY and EXPN answer a client (RFC 5321 §7.3).
    #[must_use]
    pub fn may_verify(&self, is_loopback: bool) -> bool {
        match self.vrfy {
            Vrfy::All => true,
            Vrfy::Loopback => is_loopback,
            Vrfy::None => false,
        }
    }

    /// Logs what is wrong with the aliases, and which users' domains are not ours.
    fn warn_of_names(&self) -> Result<()> {
        let refused = |error: accounts::Error| Error::Refused(error.to_string());
        if let Ok(Some(aliases)) = self.open_aliases() {
            aliases.check().iter().for_each(|problem| log::warn!("{problem}"));
        }
        if self.mail.names.domain == NameDomain::Cut {
            return Ok(());
        }
        let mut foreign = BTreeSet::new();
        self.mail
            .accounts()
            .map_err(refused)?
            .scan(|account| {
                let at = account.name.iter().rposition(|&byte| byte == b'@');
                let domain = at.and_then(|at| account.name.get(at + 1..)).unwrap_or_default();
                let is_ours = |own: &String| own.as_bytes().eq_ignore_ascii_case(domain);
                if at.is_some() && !self.domains.iter().any(is_ours) {
                    foreign.insert(domain.to_vec());
                }
                match foreign.len() < MAX_FOREIGN {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })
            .map_err(refused)?;
        for domain in foreign {
            let domain = domain.escape_ascii();
            log::warn!("users: '@{domain}' is no --domain: its users get no letters");
        }
        Ok(())
    }

    /// Reads the file of `--aliases`.
    ///
    /// # Errors
    /// `aliases FILE: reason`.
    pub fn open_aliases(&self) -> mailstore::Result<Option<Aliases>> {
        let is_exact = self.mail.names.case == NameCase::AsIs;
        self.aliases.as_deref().map(|path| Aliases::open(path, is_exact, to_ascii)).transpose()
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
        let lmtp_server = deliver::read(values)?;
        let spool = values.path("spool")?.unwrap_or_default();
        let of_lmtp = |_| relay::owner(values, mail.mail_user, "deliver");
        let lmtp_owner = lmtp_server.as_ref().map(of_lmtp).transpose()?;
        Ok(Config {
            relay: Relay::read(values, mail.mail_user)?,
            is_submission: values.is_given("submission"),
            hostname,
            domains,
            mail,
            aliases: values.path("aliases")?,
            delimiter: delimiter(values)?,
            mda: mda(values)?,
            lmtp_owner,
            lmtp_server,
            duplicates: Duplicates::in_folder(&spool),
            spool,
            max_size: values.number("max-size", 0..=u64::MAX)?,
            max_recipients: values.number("max-recipients", 1..=MAX_RECIPIENTS)?,
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
            terminal: terminal::read(values)?,
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
        self.open_aliases().map_err(|error| Error::Refused(error.to_string()))?;
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
        self.warn_of_names()?;
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
        return Err(values.conflict(&["lmtp", "listen"], format!("--lmtp: {why}")));
    }
    Ok(true)
}

/// Reads `--delimiter`: what is an atom's, and has no other meaning in an address.
fn delimiter(values: &Values) -> Result<Option<u8>> {
    let text = values.text("delimiter").unwrap_or_default();
    match text.as_bytes() {
        b"none" => Ok(None),
        [byte] if b"+-=_.#~^".contains(byte) => Ok(Some(*byte)),
        _ => Err(values.wrong("delimiter", &text, "one of + - = _ . # ~ ^, or none")),
    }
}

/// Reads `--mda`.
fn mda(values: &Values) -> Result<Option<Vec<u8>>> {
    let Some(text) = values.text("mda") else { return Ok(None) };
    match text.trim_start().starts_with('/') {
        true => Ok(Some(text.into_bytes())),
        false => Err(values.wrong("mda", &text, "not an absolute path and its arguments")),
    }
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
mod tests;
