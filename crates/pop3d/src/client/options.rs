//! The client's command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use forknet::{Error, HostPort, Result};

/// The port of POP3 (RFC 1939 §3).
const PORT: u16 = 110;
/// Default of `--timeout`: longest silence of the server.
const TIMEOUT: Duration = Duration::from_secs(60);

const USAGE: &str = "Usage: pop3c [OPTION]... HOST[:PORT] COMMAND
Reads mail by POP3 (RFC 1939).

Commands:
    stat        how many messages there are, and how many octets
    list        number and size of each message
    uidl        number and unique id of each message
    get N       message N to standard output
    top N K     its header and K lines of its body
    dele N      removes message N
    fetch DIR   stores each message not stored before in the Maildir DIR
                (made if it is not there; .pop3c.seen.* in it remembers)

The password comes from --password-file, or is asked for on the terminal, or
is the first line of standard input where that is no terminal.";

/// `--apop`: when APOP is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apop {
    /// If the greeting offers it.
    Auto,
    /// Always. If it is not offered the login fails.
    Always,
    Never,
}

/// The command to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Stat,
    List,
    Uidl,
    Get(u64),
    Top(u64, u64),
    Dele(u64),
    Fetch(PathBuf),
}

/// The values of the command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) user: String,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) server: HostPort,
    pub(crate) apop: Apop,
    pub(crate) timeout: Duration,
    pub(crate) verbose: bool,
    /// Whether `fetch` removes from the server what it has stored.
    pub(crate) delete: bool,
    pub(crate) operation: Operation,
}

/// Parses the command line.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Options> {
    let mut options = getopts::Options::new();
    options.optopt("u", "user", "whose mail (default: the login name)", "USER");
    options.optopt("", "password-file", "the password is the first line of FILE", "FILE");
    let apop = "auto: where the server offers it; always; never (default auto)";
    options.optopt("", "apop", apop, "WHEN");
    let timeout = format!("seconds the server may be silent (default {})", TIMEOUT.as_secs());
    options.optopt("t", "timeout", &timeout, "S");
    options.optflag("", "delete", "fetch: remove from the server what is safely stored here");
    options.optflag("", "keep", "fetch: leave all on the server (the default)");
    options.optflag("v", "verbose", "show the dialogue, passwords masked");
    let matches = forknet::parse("pop3c", USAGE, &mut options, args)?;
    let mut words = matches.free.iter().map(String::as_str);
    let host = words.next().ok_or_else(|| usage("HOST is missing"))?;
    let server = HostPort::parse(host, PORT)?;
    let words: Vec<&str> = words.collect();
    let operation = operation(&words)?;
    let delete = matches.opt_present("delete");
    if delete && matches.opt_present("keep") {
        return Err(usage("--delete and --keep exclude each other"));
    }
    if delete && !matches!(operation, Operation::Fetch(_)) {
        return Err(usage("--delete goes with fetch"));
    }
    Ok(Options {
        user: matches.opt_str("user").or_else(login_name).ok_or_else(|| usage("-u is missing"))?,
        password_file: matches.opt_str("password-file").map(PathBuf::from),
        server,
        apop: when(matches.opt_str("apop").as_deref())?,
        timeout: forknet::seconds(&matches, "timeout")?.unwrap_or(TIMEOUT),
        verbose: matches.opt_present("verbose"),
        delete,
        operation,
    })
}

fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

fn when(text: Option<&str>) -> Result<Apop> {
    match text {
        None | Some("auto") => Ok(Apop::Auto),
        Some("always") => Ok(Apop::Always),
        Some("never") => Ok(Apop::Never),
        Some(other) => Err(usage(format!("--apop '{other}': not auto, always or never"))),
    }
}

fn operation(words: &[&str]) -> Result<Operation> {
    match words {
        [] => Err(usage("the command is missing")),
        ["stat"] => Ok(Operation::Stat),
        ["list"] => Ok(Operation::List),
        ["uidl"] => Ok(Operation::Uidl),
        ["get", n] => Ok(Operation::Get(message(n)?)),
        ["top", n, k] => Ok(Operation::Top(message(n)?, number(k)?)),
        ["dele", n] => Ok(Operation::Dele(message(n)?)),
        ["fetch", folder] if !folder.is_empty() => Ok(Operation::Fetch(PathBuf::from(folder))),
        [known @ ("stat" | "list" | "uidl" | "get" | "top" | "dele" | "fetch"), ..] => {
            Err(usage(format!("{known}: wrong number of arguments")))
        }
        [other, ..] => Err(usage(format!("unknown command '{other}'"))),
    }
}

fn number(text: &str) -> Result<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| usage(format!("'{text}' is not a number")))
}

fn message(text: &str) -> Result<u64> {
    match number(text)? {
        0 => Err(usage("messages are counted from 1")),
        n => Ok(n),
    }
}

/// Returns the user's login name.
fn login_name() -> Option<String> {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).or_else(forknet::own_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options> {
        parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn every_command_is_parsed() {
        for (args, expected) in [
            (&["h", "stat"][..], Operation::Stat),
            (&["h", "get", "3"], Operation::Get(3)),
            (&["h", "top", "1", "0"], Operation::Top(1, 0)),
            (&["h", "dele", "2"], Operation::Dele(2)),
            (&["h", "fetch", "d"], Operation::Fetch("d".into())),
        ] {
            assert_eq!(options(&[&["-u", "x"], args].concat()).unwrap().operation, expected);
        }
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error() {
        for args in [
            &[][..],
            &["h"],
            &["h", "frob"],
            &["h", "get"],
            &["h", "get", "0"],
            &["h", "get", "x"],
            &["h", "get", "+1"],
            &["h", "get", "1", "2"],
            &["h", "top", "1"],
            &["h:x", "stat"],
            &["h:", "stat"],
            &[":110", "stat"],
            &["[::1", "stat"],
            &["--apop", "maybe", "h", "stat"],
            &["--delete", "h", "stat"],
            &["--delete", "--keep", "h", "fetch", "d"],
            &["--timeout", "0", "h", "stat"],
        ] {
            assert!(matches!(options(args), Err(Error::Usage(_))), "{args:?}");
        }
    }
}
