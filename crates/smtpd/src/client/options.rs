//! smtpc's command line.

use std::ffi::OsString;
use std::time::Duration;

use forknet::{Error, HostPort, Result};
use getopts::Matches;

use crate::options::hostname::{is_domain, machine_name};
use crate::protocol::address::{self, Path, is_literal};

/// The program's name.
pub const NAME: &str = "smtpc";

const USAGE: &str = "Usage: smtpc -s HOST[:PORT] [-f FROM] [OPTION]... TO...
Sends the letter on standard input to the addresses TO.

The letter goes as it is; no header field is added. A name without a domain
gets the name of --helo as its domain. Exit status: 0 when the server took the
letter for every recipient, 1 when not, 2 for a wrong command line.";

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
        let mut options = getopts::Options::new();
        options.optopt("s", "server", "the server; port 25 unless told", "HOST[:PORT]");
        options.optopt("f", "from", "the sender (default USER@HELO); '' is none", "FROM");
        options.optopt("", "helo", "our name (default: the machine's)", "NAME");
        options.optopt("", "hostname", "the same as --helo", "NAME");
        options.optopt("t", "timeout", "limit of every wait, seconds (default: as RFC 5321)", "S");
        options.optflag("v", "verbose", "show the dialogue on standard error");
        let matches = forknet::parse(NAME, USAGE, &mut options, args)?;
        let Some(server) = matches.opt_str("server") else {
            let text = "-s HOST[:PORT] is missing: asking the DNS for MX is not done yet";
            return Err(Error::Usage(text.into()));
        };
        let server = HostPort::parse(&server, PORT)?;
        let helo = helo(&matches)?;
        let from = match matches.opt_str("from") {
            Some(from) => sender(&from, &helo)?,
            None => sender(&user_name(), &helo)?,
        };
        let to = matches.free.iter().map(|to| mailbox(to, &helo)).collect::<Result<Vec<_>>>()?;
        if to.is_empty() {
            return Err(Error::Usage("TO is missing".into()));
        }
        let timeout = forknet::seconds(&matches, "timeout")?;
        let verbose = matches.opt_present("verbose");
        Ok(Options { server, helo, from, to, timeout, verbose })
    }
}

fn helo(matches: &Matches) -> Result<String> {
    let given = matches.opt_str("helo").or_else(|| matches.opt_str("hostname"));
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
