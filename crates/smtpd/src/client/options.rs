//! smtpc's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use accounts::{Mechanism, Mechanisms};
use forknet::{Error, HostPort, Preset, Result, Row, Values};

use crate::options::hostname::{is_domain, machine_name};
use crate::protocol::address::{self, Path};
use crate::protocol::literal::is_literal;

/// The program's name.
pub const NAME: &str = "smtpc";

const USAGE: &str = "Usage: smtpc [-s HOST[:PORT]] [-f FROM] [OPTION]... TO...
Sends the letter on standard input to the addresses TO: by the server of -s, or
else to the hosts that take the mail of each domain (MX).

The letter goes as it is; no header field is added. A name without a domain
gets the name of --helo as its domain. Exit status: 0 when the letter was taken
for every recipient; else as sysexits(3) has it: 75 may be tried again, 67 no
such user, 68 no such host, 69 refused, 77 login refused, 64 wrong usage.";

const OPTIONS: &[Row] = &[
    Row {
        name: "server",
        short: "s",
        value: "HOST[:PORT]",
        help: "the server; port 25 unless told (default: by MX)",
        manual: "The server; its port is 25 unless one is given. Without this option the name server is asked \
            for the hosts that take the mail of each recipient's domain (MX, RFC 5321, 5.1): they are tried in their \
            order, equal ones in an order of chance, each by all its addresses, up to ten. A domain without an MX \
            takes its mail itself.",
        ..Row::EMPTY
    },
    Row {
        name: "resolver",
        value: "ADDR[:PORT]",
        default: Preset::Rule("the system's"),
        help: "the name server that is asked for MX",
        manual: "The name server that is asked, an IP address with or without a port, without `-s`. The default is the \
            system's, of resolv.conf(5).",
        ..Row::EMPTY
    },
    Row {
        name: "port",
        value: "N",
        default: Preset::Value("25"),
        help: "the port of the hosts that MX names",
        manual: "The port of the hosts that were found by MX. Another one than 25 is for trials.",
        ..Row::EMPTY
    },
    Row {
        name: "from",
        short: "f",
        value: "FROM",
        help: "the sender (default USER@HELO); '' is none",
        manual: "The sender, in the envelope; an empty one or `<>` is none, as for reports. The \
            default is <user>@<helo>: the name of the user who calls, and that of `--helo`.",
        ..Row::EMPTY
    },
    Row {
        name: "helo",
        value: "NAME",
        default: Preset::Rule("the machine's"),
        help: "our name",
        manual: "Our name, a domain or an address literal.",
        ..Row::EMPTY
    },
    Row {
        name: "hostname",
        value: "NAME",
        help: "the same as --helo",
        manual: "The same as `--helo`.",
        ..Row::EMPTY
    },
    Row {
        name: "starttls",
        excludes: "tls",
        help: "begin TLS by STARTTLS, or give up",
        manual: "Begin TLS by `STARTTLS` (RFC 3207). If the server does not offer it, or its certificate is \
            not trusted or for another name than that of `-s`, nothing is sent.",
        ..Row::EMPTY
    },
    Row {
        name: "tls",
        excludes: "starttls",
        help: "begin with TLS; port 465 unless told",
        manual: "Begin with a TLS handshake, at port 465 unless one is given; certificates as with \
            `--starttls`.",
        ..Row::EMPTY
    },
    tls::rows::CA_FILE,
    Row {
        name: "user",
        short: "u",
        value: "USER",
        help: "log in as USER before the letter is sent",
        manual: "Log in as <user> before the letter is sent. If that fails, nothing is sent.",
        ..Row::EMPTY
    },
    Row {
        name: "password-file",
        value: "FILE",
        help: "the password of -u is the first line of FILE",
        manual: "The password of `-u` is the first line of <file>; without it the terminal is asked. A \
            warning says so when others may read the file.",
        ..Row::EMPTY
    },
    Row {
        name: "sasl",
        value: "MECH",
        default: Preset::Value("auto"),
        help: "the SASL mechanism of -u; auto: the strongest of both sides",
        manual: "The mechanism of `-u`: `PLAIN`, `LOGIN`, `CRAM-MD5`, `SCRAM-SHA-256` or \
            `SCRAM-SHA-256-PLUS`, which needs TLS 1.3; `auto` takes the strongest that the server offers. \
            One that sends the password is used only under TLS or on this machine.",
        ..Row::EMPTY
    },
    Row {
        name: "timeout",
        short: "t",
        value: "S",
        help: "limit of every wait, seconds (default: as RFC 5321)",
        manual: "The limit of every wait, in seconds; a fraction is allowed. The default is as RFC \
            5321 has it: 5 minutes for the greeting and the envelope, 2 for \
            `DATA`, 3 for each block of the letter, 10 for the answer to its end; half a minute for the connection to one \
            address.",
        ..Row::EMPTY
    },
    Row {
        name: "verbose",
        short: "v",
        help: "show the dialogue on standard error",
        manual: "Show the dialogue on standard error; a letter of more than 4096 bytes is only \
            mentioned.",
        ..Row::EMPTY
    },
];

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
    /// The recipients without brackets, at least one.
    pub to: Vec<String>,
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

impl Options {
    /// Parses the command line.
    ///
    /// # Errors
    /// [`Error::Usage`] for an invalid command line. [`Error::Answer`] with the text of `--help`
    /// and `--version`.
    pub fn parse(args: Vec<OsString>) -> Result<Options> {
        let values = forknet::parse(NAME, USAGE, OPTIONS, args)?;
        let tls = match (values.is_given("starttls"), values.is_given("tls")) {
            (true, _) => Tls::ByCommand,
            (_, true) => Tls::Implicit,
            _ => Tls::Never,
        };
        let ca_file = values.path("ca-file")?;
        if ca_file.is_some() && tls == Tls::Never {
            return Err(Error::Usage("--ca-file goes with --starttls or --tls".into()));
        }
        let server = server(&values, tls)?;
        let login = login(&values)?;
        if login.is_some() && !matches!(server, Server::Given(_)) {
            return Err(Error::Usage("-u goes with -s: a password is for one server".into()));
        }
        let helo = helo(&values)?;
        let from = match values.text("from") {
            Some(from) => sender(&from, &helo)?,
            None => sender(&user_name(), &helo)?,
        };
        let to =
            values.operands().iter().map(|to| mailbox(to, &helo)).collect::<Result<Vec<_>>>()?;
        if to.is_empty() {
            return Err(Error::Usage("TO is missing".into()));
        }
        let timeout = values.seconds_if_given("timeout")?;
        let verbose = values.is_given("verbose");
        Ok(Options { server, helo, from, to, tls, ca_file, login, timeout, verbose })
    }
}

fn server(values: &Values, tls: Tls) -> Result<Server> {
    let port = if tls == Tls::Implicit { TLS_PORT } else { PORT };
    if let Some(server) = values.text("server") {
        if values.is_given("resolver") || values.is_given("port") {
            let why = "--resolver and --port are for hosts that MX names, without -s";
            return Err(Error::Usage(why.into()));
        }
        return Ok(Server::Given(HostPort::parse(&server, port)?));
    }
    let resolver = values.text("resolver").map(|text| resolver(values, &text)).transpose()?;
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

fn login(values: &Values) -> Result<Option<Login>> {
    let password_file = values.path("password-file")?;
    let Some(user) = values.text("user") else {
        if password_file.is_some() || values.is_given("sasl") {
            return Err(Error::Usage("--password-file and --sasl go with -u".into()));
        }
        return Ok(None);
    };
    let text = values.text("sasl").unwrap_or_default();
    let sasl = if text.eq_ignore_ascii_case("auto") {
        Mechanisms::all()
    } else {
        let mechanism = Mechanism::parse(text.as_bytes());
        let why = || {
            values.wrong("sasl", &text, format_args!("not auto or one of {}", Mechanisms::all()))
        };
        mechanism.map(|one| [one].into_iter().collect()).ok_or_else(why)?
    };
    Ok(Some(Login { user, password_file, sasl }))
}

fn helo(values: &Values) -> Result<String> {
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
    if !bare.is_ascii() {
        return Err(bad("Only ASCII in addresses"));
    }
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
        Options::parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn addresses_get_a_domain_and_lose_their_brackets() {
        let args = ["-s", "h", "--helo", "topaz.test", "-f", "hedrick", "levy", "<Bob@red.test>"];
        let options = parse(&args).unwrap();
        assert_eq!(options.from, "hedrick@topaz.test");
        assert_eq!(options.to, ["levy@topaz.test", "Bob@red.test"]);
        assert_eq!(parse(&["-s", "h", "-f", "", "a@b"]).unwrap().from, "");
        assert!(!parse(&["-s", "h", "a@b"]).unwrap().from.is_empty());
    }

    #[test]
    fn an_invalid_address_is_a_usage_error() {
        for to in ["a@b\r\nRCPT TO:<c@d>", "a b@c", "a@", "", "<>", "a@b\0", "\u{e9}@b"] {
            let error = parse(&["-s", "h", to]).unwrap_err().to_string();
            assert!(error.starts_with("address '"), "{error}");
        }
        let error = parse(&["-s", "h", "-f", "a\nb", "a@b"]).unwrap_err().to_string();
        assert!(error.starts_with("address 'a\\nb'"), "{error}");
        assert!(parse(&["-s", "h", "--helo", "a b", "a@b"]).is_err());
    }
}
