//! smtpc's command line.

use std::ffi::OsString;
use std::time::Duration;

use forknet::{Error, HostPort, Preset, Result, Row, Values};

use crate::options::hostname::{is_domain, machine_name};
use crate::protocol::address::{self, Path, is_literal};

/// The program's name.
pub const NAME: &str = "smtpc";

const USAGE: &str = "Usage: smtpc -s HOST[:PORT] [-f FROM] [OPTION]... TO...
Sends the letter on standard input to the addresses TO.

The letter goes as it is; no header field is added. A name without a domain
gets the name of --helo as its domain. Exit status: 0 when the server took the
letter for every recipient, 1 when not, 2 for a wrong command line.";

const OPTIONS: &[Row] = &[
    Row {
        name: "server",
        short: "s",
        value: "HOST[:PORT]",
        default: Preset::Required,
        help: "the server; port 25 unless told",
        manual: "The server; its port is 25 unless one is given.",
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
        name: "timeout",
        short: "t",
        value: "S",
        help: "limit of every wait, seconds (default: as RFC 5321)",
        manual: "The limit of every wait, in seconds; a fraction is allowed. The default is as RFC \
            5321 has it: 5 minutes for the connection, the greeting and the envelope, 2 for \
            `DATA`, 3 for each block of the letter, 10 for the answer to its end.",
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
/// Longest address without its brackets, in bytes (RFC 5321 §4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// The values of the command line.
#[derive(Debug)]
pub struct Options {
    /// The server (`-s`).
    pub server: HostPort,
    /// The client's name in HELO and EHLO.
    pub helo: String,
    /// The reverse-path without brackets, empty for `<>`.
    pub from: String,
    /// The recipients without brackets, at least one.
    pub to: Vec<String>,
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
        let Some(server) = values.text("server") else {
            let text = "-s HOST[:PORT] is missing: asking the DNS for MX is not done yet";
            return Err(Error::Usage(text.into()));
        };
        let server = HostPort::parse(&server, PORT)?;
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
        Ok(Options { server, helo, from, to, timeout, verbose })
    }
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
