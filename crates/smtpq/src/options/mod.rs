//! The runner's own options.

mod rows;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use forknet::{HostPort, Result, Values};
use jiff::tz::TimeZone;

pub use rows::OPTIONS;

/// Longest time of `--retry`, `--max-age` and `--warn-after`, in seconds: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;
/// Most attempts whose times `--retry` tells.
const MAX_RETRIES: usize = 1000;
/// Longest name of a host in bytes (RFC 5321 §4.5.3.1.2).
const MAX_HOSTNAME: usize = 255;
/// Longest address in bytes (RFC 5321 §4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// What is sent where, and when.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the queue.
    pub queue: PathBuf,
    /// Where everything is sent, in place of the hosts of MX.
    pub relayhost: Option<HostPort>,
    /// The user and the file of the password of a login there.
    pub relay_login: Option<(String, PathBuf)>,
    /// The name server; `None` for the system's.
    pub resolver: Option<SocketAddr>,
    /// The port of other servers.
    pub port: u16,
    /// The server of letters whose best host we are ourselves; `None` for 127.0.0.1, and notifications alone.
    pub local: Option<SocketAddr>,
    /// Our name.
    pub hostname: String,
    /// Whether letters are sent by BDAT where a server offers CHUNKING.
    pub uses_chunking: bool,
    /// Whether nothing is sent without TLS and a right certificate.
    pub requires_tls: bool,
    /// The authorities that are trusted; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// Times between attempts; at least one.
    pub retry: Vec<Duration>,
    /// Age at which a letter is returned.
    pub max_age: Duration,
    /// Age at which its author receives a warning.
    pub warn_after: Option<Duration>,
    /// Who receives what is known of a notification that cannot be delivered, an address without brackets.
    pub double_bounce: String,
    /// The time zone of notifications, read at the start because `--chroot` hides it later.
    pub zone: TimeZone,
    /// Connections to one destination.
    pub max_per_destination: usize,
    /// Letters over one connection.
    pub max_letters: usize,
}

/// What is to be done instead of running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// List the letters.
    List,
    /// Have the runner try all of them.
    Flush,
    /// Change these letters.
    Change {
        /// Not to be sent.
        hold: Vec<String>,
        /// To be sent again.
        release: Vec<String>,
        /// To be removed.
        delete: Vec<String>,
    },
}

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    /// [`forknet::Error::Usage`] names the one that is wrong.
    pub fn read(values: &Values) -> Result<Config> {
        let port = values.number("port", 1..=u16::MAX)?;
        let queue = values.path("queue")?;
        let hostname = hostname(values)?;
        Ok(Config {
            queue: queue.ok_or_else(|| values.error("--queue must be given"))?,
            relayhost: relayhost(values, port)?,
            relay_login: relay_login(values)?,
            resolver: address(values, "resolver", dns::PORT)?,
            local: address(values, "local", port)?,
            port,
            double_bounce: double_bounce(values, &hostname)?,
            zone: TimeZone::system(),
            hostname,
            uses_chunking: !values.is_given("no-chunking"),
            requires_tls: values.is_given("require-tls"),
            ca_file: values.path("ca-file")?,
            retry: retry(values)?,
            max_age: values.seconds_within("max-age", 0.0..=MAX_SECONDS)?.unwrap_or_default(),
            warn_after: values.seconds_within("warn-after", 0.0..=MAX_SECONDS)?,
            max_per_destination: values.number("max-per-destination", 1..=10_000)?,
            max_letters: values.number("max-letters", 1..=10_000)?,
        })
    }
}

impl Command {
    /// Returns what is to be done instead of running; `None` without such an option.
    ///
    /// # Errors
    /// [`forknet::Error::Usage`]: several that do not go together.
    pub fn read(values: &Values) -> Result<Option<Command>> {
        let [hold, release, delete] = ["hold", "release", "delete"].map(|name| values.texts(name));
        let changes = !(hold.is_empty() && release.is_empty() && delete.is_empty());
        let is_once = values.is_given("once");
        match (values.is_given("list"), values.is_given("flush") && !is_once, changes) {
            (false, false, false) => Ok(None),
            (true, false, false) if !is_once => Ok(Some(Command::List)),
            (false, true, false) => Ok(Some(Command::Flush)),
            (false, false, true) if !is_once => Ok(Some(Command::Change { hold, release, delete })),
            _ => {
                let names = ["list", "flush", "once", "hold", "release", "delete"];
                let why =
                    "--list, --flush, --once, and --hold, --release, --delete: only one of them";
                Err(values.conflict(&names, why))
            }
        }
    }
}

fn relayhost(values: &Values, port: u16) -> Result<Option<HostPort>> {
    let Some(text) = values.text("relayhost") else { return Ok(None) };
    let parsed = HostPort::parse(&text, port);
    parsed.map(Some).map_err(|_| values.wrong("relayhost", &text, "not HOST or HOST:PORT"))
}

fn relay_login(values: &Values) -> Result<Option<(String, PathBuf)>> {
    match (values.text("relay-user"), values.path("relay-password-file")?) {
        (None, None) => Ok(None),
        (Some(user), Some(file)) if values.is_given("relayhost") => Ok(Some((user, file))),
        _ => {
            let names = ["relay-user", "relay-password-file", "relayhost"];
            let why = "--relay-user, --relay-password-file and --relayhost go together";
            Err(values.conflict(&names, why))
        }
    }
}

fn address(values: &Values, name: &str, port: u16) -> Result<Option<SocketAddr>> {
    let Some(text) = values.text(name) else { return Ok(None) };
    let server = HostPort::parse(&text, port);
    let address = server.ok().and_then(|it| Some(SocketAddr::new(it.host.parse().ok()?, it.port)));
    let why = "not an IP address with or without a port";
    address.map(Some).ok_or_else(|| values.wrong(name, &text, why))
}

fn hostname(values: &Values) -> Result<String> {
    let is_name = |name: &str| {
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_text = name.bytes().all(|b| b.is_ascii_graphic()) && name.len() <= MAX_HOSTNAME;
        is_text && (literal.is_some() || dns::Domain::parse(name.as_bytes()).is_some())
    };
    if let Some(name) = values.text("hostname") {
        let why = "neither a domain nor an address literal";
        return if is_name(&name) { Ok(name) } else { Err(values.wrong("hostname", &name, why)) };
    }
    let machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Ok(machine.filter(|name| is_name(name)).unwrap_or_else(|| "localhost".into()))
}

fn double_bounce(values: &Values, hostname: &str) -> Result<String> {
    let Some(address) = values.text("double-bounce") else {
        return Ok(format!("postmaster@{hostname}"));
    };
    let is_address = address.split_once('@').is_some_and(|(local, domain)| {
        let is_plain =
            address.len() <= MAX_ADDRESS && address.bytes().all(|b| b.is_ascii_graphic());
        is_plain && !local.is_empty() && !domain.is_empty() && !address.contains(['<', '>'])
    });
    let why = "not an address such as postmaster@topaz.test";
    if is_address { Ok(address) } else { Err(values.wrong("double-bounce", &address, why)) }
}

fn retry(values: &Values) -> Result<Vec<Duration>> {
    let text = values.text("retry").unwrap_or_default();
    let time = |word: &str| {
        let seconds = word.trim().parse().ok().filter(|s| (0.001..=MAX_SECONDS).contains(s));
        seconds.map(Duration::from_secs_f64)
    };
    let times: Option<Vec<Duration>> = text.split(',').map(time).collect();
    let why = "not a list of seconds such as 1800,3600,7200";
    times
        .filter(|times| times.len() <= MAX_RETRIES)
        .ok_or_else(|| values.wrong("retry", &text, why))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn values(args: &[&str]) -> Values {
        let args = ["--queue", "/q"].iter().chain(args).map(std::ffi::OsString::from).collect();
        forknet::parse("smtpq", "", OPTIONS.rows, args).unwrap()
    }

    pub(crate) fn config(args: &[&str]) -> Result<Config> {
        Config::read(&values(args))
    }

    #[test]
    fn the_first_retry_is_after_half_an_hour_and_the_last_attempt_after_five_days() {
        let config = config(&[]).unwrap();
        assert_eq!(config.retry.first(), Some(&Duration::from_secs(30 * 60)));
        assert!(config.retry.is_sorted(), "{:?}", config.retry);
        assert_eq!(config.max_age, Duration::from_secs(5 * 24 * 60 * 60));
        assert_eq!((config.warn_after, config.port, config.resolver), (None, 25, None));
    }

    #[test]
    fn wrong_values_are_named() {
        for args in [
            ["--retry", ""],
            ["--retry", "1,,2"],
            ["--retry", "0"],
            ["--retry", "-1"],
            ["--retry", "nan"],
            ["--relayhost", "host:x"],
            ["--resolver", "name.test"],
            ["--local", "name.test"],
            ["--port", "0"],
            ["--relay-user", "levy"],
            ["--hostname", "a b"],
            ["--double-bounce", "levy"],
            ["--double-bounce", "<a@b.test>"],
            ["--max-age", "-1"],
            ["--max-per-destination", "0"],
        ] {
            let error = config(&args).unwrap_err().to_string();
            assert!(error.contains(args[0]), "{args:?}: {error}");
        }
    }

    #[test]
    fn a_relay_host_has_the_port_of_port_unless_it_names_one() {
        let relay = |args: &[&str]| config(args).unwrap().relayhost.unwrap();
        assert_eq!(relay(&["--relayhost", "mx.test", "--port", "2525"]).port, 2525);
        assert_eq!(relay(&["--relayhost", "[::1]:26"]).port, 26);
    }

    #[test]
    fn one_command_at_a_time() {
        let command = |args: &[&str]| Command::read(&values(args));
        assert_eq!(command(&[]).unwrap(), None);
        assert_eq!(command(&["--once", "--flush"]).unwrap(), None);
        assert_eq!(command(&["--flush"]).unwrap(), Some(Command::Flush));
        assert_eq!(command(&["--list"]).unwrap(), Some(Command::List));
        assert!(command(&["--hold", "1", "--delete", "2"]).unwrap().is_some());
        for args in [["--list", "--flush"], ["--list", "--once"], ["--hold=1", "--list"]] {
            assert!(command(&args).is_err(), "{args:?}");
        }
    }
}
