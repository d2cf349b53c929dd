//! smtpc's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use accounts::{Mechanism, Mechanisms};
use forknet::{Error, HostPort, Result, Values};

use super::rows::{NAME, OPTIONS, USAGE};
use crate::options::hostname::{is_domain, machine_name};
use crate::protocol::address::{self, Path};
use crate::protocol::literal::is_literal;

/// The port of SMTP (RFC 5321 §4.5.4.2).
const PORT: u16 = 25;
/// The port of submission under TLS from the first byte on (RFC 8314 §3.3).
const TLS_PORT: u16 = 465;

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Never,
    /// By STARTTLS.
    ByCommand,
    /// With the first byte.
    Implicit,
}

/// Which server a letter goes to.
#[derive(Debug)]
pub enum Server {
    /// The one of `-s`.
    Given(HostPort),
    /// Those of the recipients' domains.
    ByMx {
        /// Their port.
        port: u16,
        /// The name server that is asked; those of the system without it.
        resolver: Option<SocketAddr>,
    },
}

/// A login before the letter (`-u`).
#[derive(Debug)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// Where the password is; the terminal without it.
    pub password_file: Option<PathBuf>,
    /// The mechanisms of `--sasl`.
    pub sasl: Mechanisms,
}
/// The file of the configuration, in ~/.config and in /etc.
const FILE: &str = "forklore/smtpc.conf";
/// Longest address without its brackets, in bytes (RFC 5321 §4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// The values of the command line.
#[derive(Debug)]
pub struct Options {
    /// Which server the letter goes to.
    pub server: Server,
    /// The client's name in HELO and EHLO.
    pub helo: String,
    /// The reverse-path without brackets, empty for `<>`.
    pub from: String,
    /// The recipients, at least one.
    pub to: Vec<Recipient>,
    /// `RET=` of MAIL, empty without it.
    pub ret: String,
    /// `ENVID=` of MAIL, empty without it.
    pub envid: String,
    /// How TLS begins.
    pub tls: Tls,
    /// The authorities that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The login, if there is one.
    pub login: Option<Login>,
    /// Timeout of every wait, in place of the timeouts of RFC 5321 §4.5.3.2.
    pub timeout: Option<Duration>,
    /// Whether to show commands and replies.
    pub verbose: bool,
}

/// A recipient, and which notifications the sender wants.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address without brackets.
    pub address: String,
    /// `NOTIFY=` of RCPT (RFC 3461 §4.1); empty without it.
    pub notify: String,
    /// `ORCPT=` of RCPT, in xtext (RFC 3461 §4.2); empty without it.
    pub orcpt: String,
}

impl Recipient {
    /// Makes one with nothing but an address.
    #[must_use]
    pub fn new(address: String) -> Recipient {
        Recipient { address, ..Recipient::default() }
    }
}

/// A letter's envelope, and how it is sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The sender without brackets, empty for `<>`.
    pub from: String,
    /// The recipients, at least one.
    pub to: Vec<Recipient>,
    /// `RET=` of MAIL (RFC 3461 §4.3); empty without it.
    pub ret: String,
    /// `ENVID=` of MAIL, in xtext (RFC 3461 §4.4); empty without it.
    pub envid: String,
    /// Whether to show commands and replies.
    pub is_verbose: bool,
}

impl Outgoing {
    /// Reads the addresses of the command line.
    ///
    /// # Errors
    /// [`Error::Usage`] names one that is wrong.
    pub fn parse(values: &Values) -> Result<Outgoing> {
        let helo = helo(values)?;
        let from = match values.text("from") {
            Some(from) => sender(&from, &helo)?,
            None => sender(&user_name(), &helo)?,
        };
        let to = values.operands().iter().map(|to| Ok(Recipient::new(mailbox(to, &helo)?)));
        let to = to.collect::<Result<Vec<_>>>()?;
        if to.is_empty() {
            return Err(Error::Usage("TO is missing".into()));
        }
        let (ret, envid, is_verbose) = (String::new(), String::new(), values.is_given("verbose"));
        Ok(Outgoing { from, to, ret, envid, is_verbose })
    }
}

/// Options about a server and the account there: a password is for one server, so those of the file are not for one that
/// the command line names.
const ACCOUNT: [&str; 10] = [
    "server",
    "resolver",
    "port",
    "starttls",
    "tls",
    "ca-file",
    "user",
    "password-file",
    "sasl",
    "timeout",
];

/// What the command line says, and the file where that counts.
struct Given<'a> {
    values: &'a Values,
    /// The command line names a server.
    is_only_line: bool,
}

impl Given<'_> {
    fn of(values: &Values) -> Given<'_> {
        let names = ["server", "resolver", "port"];
        let is_only_line = names.iter().any(|name| values.is_on_command_line(name));
        Given { values, is_only_line }
    }

    fn is(&self, name: &str) -> bool {
        match self.is_only_line && ACCOUNT.contains(&name) {
            true => self.values.is_on_command_line(name),
            false => self.values.is_given(name),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.values.text(name).filter(|_| self.is(name))
    }

    fn path(&self, name: &str) -> Result<Option<PathBuf>> {
        if self.is(name) { self.values.path(name) } else { Ok(None) }
    }
}

/// Reads the options of a command line, with the file of the configuration.
///
/// # Errors
/// [`Error::Usage`] for an invalid command line. [`Error::Answer`] with the text of `--help`
/// and `--version`. [`Error::Refused`] for the file.
pub fn settings(args: Vec<OsString>) -> Result<Values> {
    forknet::parse_with_file(NAME, USAGE, OPTIONS, args, &default_files())
}

fn default_files() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let own = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let own = own.filter(|own| own.is_absolute()).into_iter();
    own.chain([PathBuf::from("/etc")]).map(|folder| folder.join(FILE)).collect()
}

/// Whether a long option has no value.
#[must_use]
pub fn is_flag(name: &str) -> bool {
    let row = OPTIONS.iter().find(|row| row.name == name);
    row.map_or(matches!(name, "help" | "version"), |row| row.value.is_empty())
}

impl Options {
    /// Makes the options of a letter that goes by the server that these name, or else by `default`, or else by MX.
    ///
    /// # Errors
    /// As [`settings`].
    pub fn new(values: &Values, letter: Outgoing, default: Option<HostPort>) -> Result<Options> {
        let given = Given::of(values);
        let tls = match (given.is("starttls"), given.is("tls")) {
            (true, _) => Tls::ByCommand,
            (_, true) => Tls::Implicit,
            _ => Tls::Never,
        };
        let ca_file = given.path("ca-file")?;
        if ca_file.is_some() && tls == Tls::Never {
            return Err(Error::Usage("--ca-file goes with --starttls or --tls".into()));
        }
        let server = match (server(&given, tls)?, default) {
            (Server::ByMx { .. }, Some(default)) => Server::Given(default),
            (server, _) => server,
        };
        let login = login(&given)?;
        if login.is_some() && !matches!(server, Server::Given(_)) {
            return Err(Error::Usage("-u goes with -s: a password is for one server".into()));
        }
        let helo = helo(values)?;
        let timeout = if given.is("timeout") { values.seconds_if_given("timeout")? } else { None };
        let Outgoing { from, to, ret, envid, is_verbose: verbose } = letter;
        Ok(Options { server, helo, from, to, ret, envid, tls, ca_file, login, timeout, verbose })
    }
}

fn server(given: &Given<'_>, tls: Tls) -> Result<Server> {
    let (port, values) = (if tls == Tls::Implicit { TLS_PORT } else { PORT }, given.values);
    if let Some(server) = given.text("server") {
        if given.is("resolver") || given.is("port") {
            let why = "--resolver and --port are for hosts that MX names, without -s";
            return Err(Error::Usage(why.into()));
        }
        return Ok(Server::Given(HostPort::parse(&server, port)?));
    }
    let resolver = given.text("resolver").map(|text| resolver(values, &text)).transpose()?;
    let port = values.number("port", 1..=u16::MAX)?;
    Ok(Server::ByMx { port, resolver })
}

/// Reads the address of a name server.
fn resolver(values: &Values, text: &str) -> Result<SocketAddr> {
    let server = HostPort::parse(text, dns::PORT);
    let address = server.ok().and_then(|it| Some(SocketAddr::new(it.host.parse().ok()?, it.port)));
    address
        .ok_or_else(|| values.wrong("resolver", text, "not an IP address with or without a port"))
}

fn login(given: &Given<'_>) -> Result<Option<Login>> {
    let password_file = given.path("password-file")?;
    let Some(user) = given.text("user") else {
        if password_file.is_some() || given.is("sasl") {
            return Err(Error::Usage("--password-file and --sasl go with -u".into()));
        }
        return Ok(None);
    };
    let text = given.text("sasl").unwrap_or_else(|| "auto".to_owned());
    let sasl = if text.eq_ignore_ascii_case("auto") {
        Mechanisms::all()
    } else {
        let mechanism = Mechanism::parse(text.as_bytes());
        let why = || {
            let why = format!("not auto or one of {}", Mechanisms::all());
            given.values.wrong("sasl", &text, why)
        };
        mechanism.map(|one| [one].into_iter().collect()).ok_or_else(why)?
    };
    Ok(Some(Login { user, password_file, sasl }))
}

/// Returns our name: that of `--helo`, or the machine's.
///
/// # Errors
/// It is no domain.
pub fn helo(values: &Values) -> Result<String> {
    let given = values.text("helo").or_else(|| values.text("hostname"));
    let Some(name) = given else { return Ok(machine_name()) };
    if is_domain(name.as_bytes()) || is_literal(name.as_bytes()) {
        return Ok(name);
    }
    Err(Error::Usage(format!("--helo '{}': not a domain or address literal", name.escape_debug())))
}

fn sender(text: &str, helo: &str) -> Result<String> {
    if text.is_empty() || text == "<>" { Ok(String::new()) } else { mailbox(text, helo) }
}

/// Completes an address given with or without brackets and domain. An address with CR or LF is
/// refused, because it would end the command line.
fn mailbox(text: &str, helo: &str) -> Result<String> {
    let bad = |why: &str| Error::Usage(format!("address '{}': {why}", text.escape_debug()));
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    let full = match address::without_brackets(bare.as_bytes()).map_err(|e| bad(e.0))? {
        Path::Mailbox(mailbox) => mailbox.text,
        Path::Name(_) => format!("{bare}@{helo}"),
        Path::Null => return Err(bad("it is empty")),
    };
    if full.len() > MAX_ADDRESS { Err(bad("it is too long")) } else { Ok(full) }
}

fn user_name() -> String {
    forknet::own_name().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "nobody".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        let args = args.iter().map(OsString::from).collect();
        let values = forknet::parse(NAME, USAGE, OPTIONS, args)?;
        Options::new(&values, Outgoing::parse(&values)?, None)
    }

    #[test]
    fn addresses_get_a_domain_and_lose_their_brackets() {
        let args = [
            "-s",
            "h",
            "--helo",
            "topaz.test",
            "-f",
            "hedrick",
            "levy",
            "<Bob@red.test>",
            "J\u{f6}rg@b\u{fc}ro.test",
        ];
        let options = parse(&args).unwrap();
        assert_eq!(options.from, "hedrick@topaz.test");
        let to: Vec<_> = options.to.iter().map(|to| &to.address[..]).collect();
        assert_eq!(to, ["levy@topaz.test", "Bob@red.test", "J\u{f6}rg@b\u{fc}ro.test"]);
        assert_eq!(parse(&["-s", "h", "-f", "", "a@b"]).unwrap().from, "");
        assert!(!parse(&["-s", "h", "a@b"]).unwrap().from.is_empty());
    }

    #[test]
    fn an_invalid_address_is_a_usage_error() {
        for to in
            ["a@b\r\nRCPT TO:<c@d>", "a b@c", "a@", "", "<>", "a@b\0", "\u{202e}@b", "a@b\u{200b}"]
        {
            let error = parse(&["-s", "h", to]).unwrap_err().to_string();
            assert!(error.starts_with("address '"), "{error}");
        }
        let error = parse(&["-s", "h", "-f", "a\nb", "a@b"]).unwrap_err().to_string();
        assert!(error.starts_with("address 'a\\nb'"), "{error}");
        assert!(parse(&["-s", "h", "--helo", "a b", "a@b"]).is_err());
    }
}
