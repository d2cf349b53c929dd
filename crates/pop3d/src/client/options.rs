//! The client's command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use accounts::{Mechanism, Mechanisms};
use forknet::{Error, HostPort, Preset, Result, Row, Values};

/// The port of POP3 (RFC 1939 §3).
const PORT: u16 = 110;
/// The port of POP3 under TLS from the first byte on (RFC 8314 §3.3).
const TLS_PORT: u16 = 995;

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

const OPTIONS: &[Row] = &[
    Row {
        name: "user",
        short: "u",
        value: "USER",
        default: Preset::Rule("the login name"),
        help: "whose mail",
        manual: "Whose mail.",
        ..Row::EMPTY
    },
    Row {
        name: "password-file",
        value: "FILE",
        help: "the password is the first line of FILE",
        manual: "The password is the first line of <file>. A warning says so when others may read \
            it.",
        ..Row::EMPTY
    },
    Row {
        name: "apop",
        value: "WHEN",
        default: Preset::Value("auto"),
        choices: &["auto", "always", "never"],
        help: "auto: where the server offers it; always; never",
        manual: "Use `APOP` where the server offers it (`auto`), `always`, or `never`. With \
            `always` there is no login without it.",
        ..Row::EMPTY
    },
    Row {
        name: "sasl",
        value: "MECH",
        help: "log in by this SASL mechanism; auto: the strongest of both sides",
        manual: "Log in by `AUTH` with the mechanism <mech>: `PLAIN`, `LOGIN`, `CRAM-MD5`, \
            `SCRAM-SHA-256` or `SCRAM-SHA-256-PLUS`, which needs TLS 1.3; `auto` takes the strongest that \
            the server offers. One that sends the password is used only under TLS or on this machine. \
            With SCRAM the server, too, proves that it knows the user.",
        ..Row::EMPTY
    },
    Row {
        name: "stls",
        excludes: "tls",
        help: "begin TLS by STLS, or give up",
        manual: "Begin TLS by `STLS` (RFC 2595) before anything else is sent. If the server does not offer it, \
            or its certificate is not trusted or for another name than <host>, that is the end.",
        ..Row::EMPTY
    },
    Row {
        name: "tls",
        excludes: "stls",
        help: "begin with TLS; port 995 unless told",
        manual: "Begin with a TLS handshake, at port 995 unless <port> is given; certificates as with \
            `--stls`.",
        ..Row::EMPTY
    },
    tls::rows::CA_FILE,
    Row {
        name: "timeout",
        short: "t",
        value: "S",
        default: Preset::Value("60"),
        help: "seconds the server may be silent",
        manual: "Wait at most <s> seconds for the connection, and for each word of the server. A \
            fraction is allowed.",
        ..Row::EMPTY
    },
    Row {
        name: "delete",
        excludes: "keep",
        help: "fetch: remove from the server what is safely stored here",
        manual: "With `fetch`: remove from the server what is safely stored here. Of messages that \
            share one unique ID none is removed that was stored by an earlier run.",
        ..Row::EMPTY
    },
    Row {
        name: "keep",
        excludes: "delete",
        help: "fetch: leave all on the server (the default)",
        manual: "With `fetch`: leave everything on the server. This is the default.",
        ..Row::EMPTY
    },
    Row {
        name: "verbose",
        short: "v",
        help: "show the dialogue, passwords masked",
        manual: "Show the dialogue on standard error, passwords masked.",
        ..Row::EMPTY
    },
];

/// `--apop`: when APOP is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apop {
    /// If the greeting offers it.
    Auto,
    /// Always. If it is not offered the login fails.
    Always,
    Never,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Not at all.
    Never,
    /// By STLS.
    Stls,
    /// With the first byte.
    Implicit,
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
    /// The mechanisms that `--sasl` allows; empty without it.
    pub(crate) sasl: Mechanisms,
    pub(crate) tls: Tls,
    /// The authorities that are trusted instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) verbose: bool,
    /// Whether `fetch` removes from the server what it has stored.
    pub(crate) delete: bool,
    pub(crate) operation: Operation,
}

/// Parses the command line.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Options> {
    let values = forknet::parse("pop3c", USAGE, OPTIONS, args)?;
    let mut words = values.operands().iter().map(String::as_str);
    let host = words.next().ok_or_else(|| usage("HOST is missing"))?;
    let tls = match (values.is_given("stls"), values.is_given("tls")) {
        (true, _) => Tls::Stls,
        (_, true) => Tls::Implicit,
        _ => Tls::Never,
    };
    let ca_file = values.path("ca-file")?;
    if ca_file.is_some() && tls == Tls::Never {
        return Err(usage("--ca-file goes with --stls or --tls"));
    }
    let server = HostPort::parse(host, if tls == Tls::Implicit { TLS_PORT } else { PORT })?;
    let words: Vec<&str> = words.collect();
    let operation = operation(&words)?;
    let delete = values.is_given("delete");
    if delete && !matches!(operation, Operation::Fetch(_)) {
        return Err(usage("--delete goes with fetch"));
    }
    Ok(Options {
        user: values.text("user").or_else(login_name).ok_or_else(|| usage("-u is missing"))?,
        password_file: values.text("password-file").map(PathBuf::from),
        server,
        apop: match values.choice("apop")? {
            "always" => Apop::Always,
            "never" => Apop::Never,
            _ => Apop::Auto,
        },
        sasl: sasl(&values)?,
        tls,
        ca_file,
        timeout: values.seconds("timeout")?,
        verbose: values.is_given("verbose"),
        delete,
        operation,
    })
}

fn sasl(values: &Values) -> Result<Mechanisms> {
    let Some(text) = values.text("sasl") else { return Ok(Mechanisms::default()) };
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Mechanisms::all());
    }
    let mechanism = Mechanism::parse(text.as_bytes());
    let why =
        || values.wrong("sasl", &text, format_args!("not auto or one of {}", Mechanisms::all()));
    mechanism.map(|one| [one].into_iter().collect()).ok_or_else(why)
}

fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
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
            &["--stls", "--tls", "h", "stat"],
            &["--ca-file", "f", "h", "stat"],
            &["--sasl", "x", "h", "stat"],
            &["--delete", "--keep", "h", "fetch", "d"],
            &["--timeout", "0", "h", "stat"],
        ] {
            assert!(matches!(options(args), Err(Error::Usage(_))), "{args:?}");
        }
    }
}
