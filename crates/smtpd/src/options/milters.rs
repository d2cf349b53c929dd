//! `--milter`, `--milter-on-failure`: filters that letters pass.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use forknet::{Connection, HostPort, Preset, Result, Row, UnixName, Values, connect, connect_unix};

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Most filters, a number.
const MAX_MILTERS: usize = 8;

/// What happens where a filter does not work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Letters are taken without it.
    Accept,
    /// Letters are put off.
    #[default]
    Defer,
}

/// The address of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MilterAddress {
    /// `unix:PATH`.
    Unix(UnixName),
    /// `HOST:PORT`.
    Inet(HostPort),
}

/// The values of these options.
#[derive(Debug, Clone, Default)]
pub struct Milters {
    /// The filters, in the order in which they are asked.
    pub all: Vec<MilterAddress>,
    /// What happens where one does not work.
    pub on_failure: OnFailure,
    /// The Maildir of letters that filters keep back.
    pub quarantine: Option<PathBuf>,
}

impl FromStr for MilterAddress {
    type Err = String;

    /// Reads `unix:PATH` or `HOST:PORT`, and what libmilter's filters call these: `local:PATH`,
    /// `inet:PORT@HOST`, `inet:HOST:PORT`.
    fn from_str(text: &str) -> std::result::Result<MilterAddress, String> {
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.strip_prefix("local:")) {
            return UnixName::parse(path).map(MilterAddress::Unix);
        }
        let text = match text.strip_prefix("inet:") {
            None => text.to_owned(),
            Some(rest) => match rest.split_once('@') {
                Some((port, host)) => format!("{host}:{port}"),
                None => rest.to_owned(),
            },
        };
        let wrong = || "not unix:PATH or HOST:PORT".to_owned();
        match HostPort::parse(&text, 1) {
            Ok(address) if text.ends_with(&format!(":{}", address.port)) => {
                Ok(MilterAddress::Inet(address))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for MilterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MilterAddress::Unix(name) => write!(f, "unix:{name}"),
            MilterAddress::Inet(address) => address.fmt(f),
        }
    }
}

impl MilterAddress {
    /// Connects, with the rights of this process.
    ///
    /// # Errors
    /// `connect to ADDRESS: reason`.
    pub fn connect(&self) -> Result<Connection> {
        match self {
            MilterAddress::Unix(name) => connect_unix(name, CONNECT_WAIT),
            MilterAddress::Inet(HostPort { host, port }) => connect(host, *port, CONNECT_WAIT),
        }
    }

    /// Wraps a connection that another process has made.
    #[must_use]
    pub fn adopt(made: std::os::fd::OwnedFd) -> Connection {
        Connection::made_elsewhere(made, CONNECT_WAIT)
    }
}

/// The error of a filter that no process has connected to.
#[must_use]
pub fn not_connected() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "no connection")
}

impl Milters {
    /// Reads the options.
    ///
    /// # Errors
    /// [`forknet::Error::Usage`] names the option that is wrong.
    pub(super) fn read(values: &Values) -> Result<Milters> {
        let mut all = Vec::new();
        for text in values.texts("milter") {
            let address = text.parse().map_err(|why: String| values.wrong("milter", &text, why))?;
            if all.len() >= MAX_MILTERS {
                return Err(values.wrong(
                    "milter",
                    &text,
                    format!("more than {MAX_MILTERS} filters"),
                ));
            }
            all.push(address);
        }
        let on_failure = match values.choice("milter-on-failure")? {
            "accept" => OnFailure::Accept,
            _ => OnFailure::Defer,
        };
        Ok(Milters { all, on_failure, quarantine: values.path("quarantine")? })
    }
}

pub(super) const MILTER: Row = Row {
    name: "milter",
    value: "ADDR",
    repeats: true,
    help: "filter that letters pass (milter protocol); repeatable",
    manual: "Ask this filter about each client, its `HELO`, senders, recipients and letters, by the milter \
        protocol, version 6, as rspamd and OpenDKIM speak it: `unix:<path>` or `<host>:<port>`. It may refuse them, put them \
        off, add and change fields of the header, and give a letter another body; other recipients or another sender are not \
        offered to it. A process of the keeper's connects, with the keeper's rights; the process that talks to the client has \
        that connection alone. May be given up to eight times: each filter sees letters as they came, and changes \
        are made in the order of the options.",
    ..Row::EMPTY
};

pub(super) const ON_FAILURE: Row = Row {
    name: "milter-on-failure",
    value: "WHAT",
    default: Preset::Value("defer"),
    choices: &["accept", "defer"],
    help: "where a filter does not work: accept or defer letters",
    manual: "What happens to letters where a filter of `--milter` cannot be reached, ends, is late, or says what the protocol does \
        not know: `defer`, they are refused for now, with 451; or `accept`, they are taken without it. The log says why.",
    ..Row::EMPTY
};

pub(super) const QUARANTINE: Row = Row {
    name: "quarantine",
    value: "DIR",
    help: "Maildir of letters that filters keep back",
    manual: "The Maildir, in place of the recipients' mailboxes, of letters that a filter of `--milter` keeps back. \
        Behind \"X-Quarantine:\" stands why, behind \"X-Envelope-To:\" each recipient. The folder must be there, and belong to an \
        ordinary user, with whose rights it is written. The client gets 250 once the letter is safe in it. Without \
        this option filters are not offered to keep letters back, and one that does so has the letter put off with 451.",
    ..Row::EMPTY
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_our_form_and_in_those_of_filters() {
        for (text, shown) in [
            ("unix:/run/x", Some("unix:/run/x")),
            ("local:/run/x", Some("unix:/run/x")),
            ("127.0.0.1:11332", Some("127.0.0.1:11332")),
            ("[::1]:11332", Some("[::1]:11332")),
            ("inet:8891@localhost", Some("localhost:8891")),
            ("inet:localhost:8891", Some("localhost:8891")),
            ("localhost", None),
            ("8891", None),
            ("x:0", None),
            ("x:99999", None),
            ("unix:", None),
            ("", None),
        ] {
            let read = text.parse::<MilterAddress>().ok().map(|it| it.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }
}
