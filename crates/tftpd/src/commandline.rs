//! tftpc's command line: `tftpc HOST[:PORT] get REMOTE [LOCAL]`, `put LOCAL [REMOTE]`.

use std::ffi::OsString;
use std::time::Duration;

use getopts::Options;

use forknet::{Error, Remote, Result};

use crate::client::Order;
use crate::negotiation::Wishes;
use crate::options::{declare_retries, retries};
use crate::packet::{Direction, MAX_NAME, MAX_REQUEST, Mode, Request};
use crate::timer::Limits;

/// The port of the service, unless HOST:PORT names one.
const PORT: u16 = 69;
/// How long nothing may go forward, unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
const USAGE: &str = "Usage: tftpc [OPTION]... HOST[:PORT] get REMOTE [LOCAL]
       tftpc [OPTION]... HOST[:PORT] put LOCAL [REMOTE]
Fetches or sends a file by TFTP (RFC 1350). A LOCAL of - is standard output, or
standard input.";

/// A parsed command line.
#[derive(Debug)]
pub struct CommandLine {
    /// The server.
    pub server: Remote,
    /// What to do there.
    pub order: Order,
    /// Show every packet.
    pub verbose: bool,
}

/// Reads the command line.
///
/// # Errors
/// [`Error::Usage`] says what is wrong with it, [`Error::Answer`] is the text of `--help` and
/// `--version`.
pub fn parse(args: Vec<OsString>) -> Result<CommandLine> {
    let mut options = Options::new();
    options.optopt("m", "mode", "octet (default) or netascii", "MODE");
    let timeout =
        format!("give up after S seconds without progress (default {})", TIMEOUT.as_secs());
    options.optopt("t", "timeout", &timeout, "S");
    declare_retries(&mut options);
    options.optflag("v", "verbose", "show every packet");
    let matches = forknet::parse("tftpc", USAGE, &mut options, args)?;
    let mode = matches.opt_str("mode").unwrap_or_else(|| "octet".into());
    let mode = Mode::parse(mode.as_bytes())
        .ok_or_else(|| Error::Usage(format!("--mode '{mode}': not octet or netascii")))?;
    let retries = retries(&matches)?;
    let idle = forknet::seconds(&matches, "timeout")?.unwrap_or(TIMEOUT);
    let direction = match matches.free.get(1).map(String::as_str) {
        Some("put") => Direction::Write,
        Some("get") | None => Direction::Read,
        Some(other) => return Err(Error::Usage(format!("'{other}': not get or put"))),
    };
    let names: &[&str] = match direction {
        Direction::Read => &["HOST", "get or put", "REMOTE", "[LOCAL]"],
        Direction::Write => &["HOST", "get or put", "LOCAL", "[REMOTE]"],
    };
    forknet::free_arguments(&matches, names)?;
    let verbose = matches.opt_present("verbose");
    let mut free = matches.free.into_iter();
    let server = Remote::parse(&free.next().unwrap_or_default(), PORT)?;
    let (remote, local) = file_names(direction, free.nth(1).unwrap_or_default(), free.next())?;
    // Whoever asks knows that the request is its own: all tries are allowed.
    let limits = Limits { retries, unproven_sends: retries + 1, idle, whole: idle };
    let wishes = Wishes::default();
    let order = Order { direction, remote, local, mode, wishes, limits };
    Ok(CommandLine { server, order, verbose })
}

/// REMOTE and LOCAL; the one that was not given is the last part of the other.
fn file_names(
    direction: Direction,
    first: String,
    second: Option<String>,
) -> Result<(Vec<u8>, String)> {
    let (given, other) = match direction {
        Direction::Read => ("REMOTE", "LOCAL"),
        Direction::Write => ("LOCAL", "REMOTE"),
    };
    let second = match second {
        Some(second) => second,
        None if first == "-" && direction == Direction::Write => String::new(),
        None => first.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    for (what, name) in [(given, &first), (other, &second)] {
        if name.is_empty() {
            return Err(Error::Usage(format!("{what} is missing")));
        }
    }
    let (remote, local) = match direction {
        Direction::Read => (first, second),
        Direction::Write => (second, first),
    };
    let request = Request::packet(direction, remote.as_bytes(), Mode::Netascii);
    if remote.len() > MAX_NAME || request.len() > MAX_REQUEST {
        return Err(Error::Usage(format!("REMOTE is longer than {MAX_NAME} octets")));
    }
    Ok((remote.into_bytes(), local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<CommandLine> {
        parse(args.iter().map(OsString::from).collect())
    }

    fn names(args: &[&str]) -> (String, String) {
        let order = parsed(args).unwrap().order;
        (String::from_utf8(order.remote).unwrap(), order.local)
    }

    #[test]
    fn the_other_name_is_the_last_part_of_the_one_that_is_given() {
        assert_eq!(names(&["h", "get", "a/b"]), ("a/b".into(), "b".into()));
        assert_eq!(names(&["h", "put", "/a/b"]), ("b".into(), "/a/b".into()));
        assert_eq!(names(&["h", "get", "a", "-"]), ("a".into(), "-".into()));
        assert_eq!(names(&["h", "put", "-", "b"]), ("b".into(), "-".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = "n".repeat(256);
        for (args, complaint) in [
            (&[][..], "HOST is missing"),
            (&["h"], "get or put is missing"),
            (&["h", "got", "x"], "'got': not get or put"),
            (&["h", "get"], "REMOTE is missing"),
            (&["h", "put", "-"], "REMOTE is missing"),
            (&["h", "get", "x/"], "LOCAL is missing"),
            (&["h", "get", "a", "b", "c"], "unexpected argument 'c'"),
            (&["h", "get", &long], "REMOTE is longer than 255 octets"),
            (&["h:0", "get", "x"], "'h:0': not HOST or HOST:PORT"),
            (&["h:x", "get", "x"], "'h:x': not HOST or HOST:PORT"),
            (&["-m", "mail", "h", "get", "x"], "--mode 'mail': not octet or netascii"),
            (
                &["-t", "x", "h", "get", "x"],
                "--timeout 'x': not a number of seconds from 0.001 to 86400",
            ),
        ] {
            let error = parsed(args).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{args:?}");
            assert_eq!(error.to_string(), complaint);
        }
    }
}
