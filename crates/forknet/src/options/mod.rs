//! The options that every daemon has.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use getopts::{Matches, Options, ParsingStyle};
use nix::sys::signal::Signal;
use sys::signal;

use crate::error::{Error, Result};
use crate::log::{self, syslog::Facility};
use crate::net::endpoint::Endpoint;
use crate::net::transport::Transport;

pub(crate) mod limits;
pub(crate) mod model;
pub(crate) mod usage;
pub(crate) mod values;

use limits::{Over, Rate};
use model::Model;
use values::{MAX_SECONDS, number, path, seconds, seconds_within, word};

/// Clients served at once unless `--max-clients` says otherwise.
const MAX_CLIENTS: usize = 256;
/// Clients of one address unless `--max-per-ip` says otherwise.
const MAX_PER_IP: usize = 64;
/// Prefork children unless `--workers` says otherwise.
const WORKERS: usize = 8;
/// The queue of listen(2) unless `--backlog` says otherwise. The slides' LISTENQ of 5 costs a
/// client of a burst a second each time its SYN is dropped.
const BACKLOG: i32 = 4096;
/// Longest time that sessions may run on after SIGTERM, unless `--grace` says otherwise.
const GRACE: Duration = Duration::from_secs(30);
/// Longest session unless `--deadline` says otherwise: this number of idle limits.
const DEADLINE: u32 = 4;

/// The signals that a server hears while it waits, and nowhere else.
pub(crate) const SIGNALS: [Signal; 5] =
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// What a daemon tells about its protocol.
#[derive(Debug)]
pub struct Service {
    /// The program's name, as it stands before its errors.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// The protocol's own port.
    pub port: u16,
    /// How long a client may be silent, unless `--timeout` says otherwise.
    pub idle: Duration,
    /// What happens when root starts the daemon without `--user`.
    pub root: RootPolicy,
    /// Under what `--syslog` logs.
    pub facility: Facility,
    /// Octets of address space that a process with one client may take.
    pub memory: u64,
    /// Where its clients come from.
    pub transport: Transport,
}

/// What happens when root starts a daemon without saying `--user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPolicy {
    /// It serves as the user nobody.
    Nobody,
    /// It refuses and says why; `-u root` insists.
    Refuse,
}

/// The value of every common option.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen (`-l`); never empty.
    pub listen: Vec<Endpoint>,
    /// The server's design (`-m`).
    pub model: Model,
    /// Children of the prefork model (`-n`).
    pub workers: usize,
    /// Clients at once (`-c`).
    pub max_clients: usize,
    /// Clients at once from one address (`--max-per-ip`).
    pub max_per_ip: usize,
    /// What a client over a limit meets with (`--over`).
    pub over: Over,
    /// How many connections one address may make in what time (`--rate`).
    pub rate: Option<Rate>,
    /// The queue of listen(2) (`-b`).
    pub backlog: i32,
    /// Serve standard input (`-i`).
    pub inetd: bool,
    /// Detach from the terminal (`-d`).
    pub daemon: bool,
    /// Where the process id is written (`-p`).
    pub pid_file: Option<PathBuf>,
    /// `USER` or `USER:GROUP` to become (`-u`).
    pub user: Option<String>,
    /// What becomes the root of all paths (`--chroot`).
    pub chroot: Option<PathBuf>,
    /// How long a client may be silent (`-t`).
    pub timeout: Duration,
    /// How long a whole session may last (`--deadline`), and a second more for each 128 octets.
    pub deadline: Duration,
    /// How long sessions may run on after SIGTERM (`--grace`).
    pub grace: Duration,
    /// Where every dialogue line is appended (`--transcript`).
    pub transcript: Option<PathBuf>,
    /// Log to syslog(3) (`--syslog`).
    pub syslog: bool,
}

/// A parsed command line: what is common, and getopts' matches for the daemon's own options.
#[derive(Debug)]
pub struct CommandLine {
    /// The common options.
    pub server: ServerOptions,
    /// Everything, for the daemon's own options.
    pub matches: Matches,
}

/// The part of [`crate::command_line`] that is about the command line itself.
pub(crate) fn command_line(
    service: &Service,
    own: impl FnOnce(&mut Options),
    args: Vec<OsString>,
) -> Result<CommandLine> {
    // SIGTERM waits from here on, until the server can end in order.
    signal::block(&SIGNALS).map_err(Error::os("sigprocmask"))?;
    let line = parse_line(service, own, args);
    if line.is_err() {
        signal::unblock(&SIGNALS).map_err(Error::os("sigprocmask"))?;
    }
    line
}

fn parse_line(
    service: &Service,
    own: impl FnOnce(&mut Options),
    args: Vec<OsString>,
) -> Result<CommandLine> {
    let mut options = Options::new();
    own(&mut options);
    declare(&mut options, service);
    let usage = format!("Usage: {} [OPTION]...\n{}", service.name, service.about);
    let matches = parse(service.name, &usage, &mut options, args)?;
    free_arguments(&matches, &[])?;
    let server = read(service, &matches)?;
    let facility = server.syslog.then_some(service.facility);
    log::start(service.name, level(&matches), server.inetd, facility)?;
    if server.chroot.is_some() {
        // What the daemon's own options name is seen from the new root later.
        std::env::set_current_dir("/").map_err(Error::io("chdir /"))?;
    }
    Ok(CommandLine { server, matches })
}

impl CommandLine {
    /// Lets SIGTERM and the others in again, which wait since the start: for a program that turns
    /// out to be no server.
    ///
    /// # Errors
    /// As sigprocmask(2).
    pub fn serves_nobody(&self) -> Result<()> {
        signal::unblock(&SIGNALS).map_err(Error::os("sigprocmask"))
    }
}

/// Parses a command line with `--help` and `--version` added: for the clients, and for
/// [`crate::command_line`].
///
/// # Errors
/// As [`crate::command_line`].
pub fn parse(
    name: &str,
    usage: &str,
    options: &mut Options,
    args: Vec<OsString>,
) -> Result<Matches> {
    options.optflag("h", "help", "print this help");
    options.optflag("V", "version", "print the version");
    options.parsing_style(ParsingStyle::FloatingFrees);
    if let Some(odd) = args.iter().find(|arg| arg.to_str().is_none()) {
        return Err(Error::Usage(format!("{odd:?}: not UTF-8")));
    }
    let matches = options.parse(args).map_err(|fail| Error::Usage(usage::complaint(&fail)))?;
    if matches.opt_present("help") {
        return Err(Error::Answer(usage::help(options, usage)));
    }
    if matches.opt_present("version") {
        return Err(Error::Answer(version(name)));
    }
    Ok(matches)
}

/// `echod (forklore) 0.1.0, static`, or `dynamic`: how the program is linked.
fn version(name: &str) -> String {
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    format!("{name} (forklore) {}, {linked}", env!("CARGO_PKG_VERSION"))
}

/// Checks the arguments that are no options against their names; a name in brackets is optional.
///
/// # Errors
/// [`Error::Usage`] names the first one that is missing or too many.
pub fn free_arguments(matches: &Matches, names: &[&str]) -> Result<()> {
    if let Some(missing) = names.get(matches.free.len()).filter(|name| !name.starts_with('[')) {
        return Err(Error::Usage(format!("{missing} is missing")));
    }
    match matches.free.get(names.len()) {
        Some(extra) => Err(Error::Usage(format!("unexpected argument '{extra}'"))),
        None => Ok(()),
    }
}

fn declare(options: &mut Options, service: &Service) {
    let (forms, port) = (service.transport.forms(), service.port);
    let listen = format!("{forms}; port 0 = any; repeatable (default *:{port})");
    options.optmulti("l", "listen", &listen, "ADDR");
    if service.transport != Transport::Datagram {
        let model = "fork, prefork, thread or iterative (default fork)";
        options.optopt("m", "model", model, "MODEL");
        options.optopt("n", "workers", &format!("prefork children (default {WORKERS})"), "N");
    }
    declare_limits(options, service);
    options.optopt("b", "backlog", &format!("queue of listen(2) (default {BACKLOG})"), "N");
    options.optflag("i", "inetd", "serve standard input: a client, or a socket to wait on");
    options.optflag("d", "daemon", "detach from the terminal");
    options.optopt("p", "pid-file", "write the process id to FILE, locked", "FILE");
    let root = match service.root {
        RootPolicy::Nobody => "nobody",
        RootPolicy::Refuse => "refuse; '-u root' insists",
    };
    let user = format!("become USER after bind (default as root: {root})");
    options.optopt("u", "user", &user, "USER[:GROUP]");
    options.optopt("", "chroot", "see nothing but DIR after bind; needs root", "DIR");
    let grace = format!("seconds for sessions to end after SIGTERM (default {})", GRACE.as_secs());
    options.optopt("", "grace", &grace, "S");
    options.optopt("", "transcript", "append every dialogue line to FILE", "FILE");
    options.optflag("", "syslog", "log to syslog(3) instead of standard error");
    options.optflagmulti("v", "verbose", "log more; twice, still more");
    options.optflagmulti("q", "quiet", "log warnings and errors only; twice, errors only");
}

fn declare_limits(options: &mut Options, service: &Service) {
    options.optopt("c", "max-clients", &format!("clients at once (default {MAX_CLIENTS})"), "N");
    let per_ip = format!("clients at once from one address (default {MAX_PER_IP})");
    options.optopt("", "max-per-ip", &per_ip, "N");
    let over = "busy (say so) or queue (let wait): clients over the limit (default busy)";
    options.optopt("", "over", over, "HOW");
    let rate = "connections an address may make in S seconds (default: any number)";
    options.optopt("", "rate", rate, "N/S");
    let idle = format!("idle limit of a client, seconds (default {})", service.idle.as_secs_f64());
    options.optopt("t", "timeout", &idle, "S");
    let deadline = format!("limit of a whole session, seconds (default {DEADLINE} times -t)");
    options.optopt("", "deadline", &deadline, "S");
}

fn read(service: &Service, matches: &Matches) -> Result<ServerOptions> {
    let listen = match matches.opt_strs("listen") {
        none if none.is_empty() => vec![Endpoint::Any(service.port)],
        some => some.iter().map(|text| text.parse()).collect::<Result<_>>()?,
    };
    listen.iter().try_for_each(|endpoint| service.transport.check(endpoint))?;
    if matches.opt_present("inetd") && matches.opt_present("daemon") {
        return Err(Error::Usage("--inetd and --daemon: one or the other".into()));
    }
    let model = match service.transport {
        Transport::Stream | Transport::StreamAndDatagram => {
            word(matches, "model")?.unwrap_or_default()
        }
        Transport::Datagram => Model::Fork,
    };
    let workers = match service.transport {
        Transport::Stream | Transport::StreamAndDatagram => number(matches, "workers", 1..=10_000)?,
        Transport::Datagram => None,
    };
    let timeout = seconds(matches, "timeout")?.unwrap_or(service.idle);
    Ok(ServerOptions {
        listen,
        model,
        workers: workers.unwrap_or(WORKERS),
        max_clients: number(matches, "max-clients", 1..=1_000_000)?.unwrap_or(MAX_CLIENTS),
        max_per_ip: number(matches, "max-per-ip", 1..=1_000_000)?.unwrap_or(MAX_PER_IP),
        over: word(matches, "over")?.unwrap_or_default(),
        rate: word(matches, "rate")?,
        backlog: number(matches, "backlog", 1..=65_535)?.unwrap_or(BACKLOG),
        inetd: matches.opt_present("inetd"),
        daemon: matches.opt_present("daemon"),
        pid_file: path(matches, "pid-file")?,
        user: matches.opt_str("user"),
        chroot: path(matches, "chroot")?,
        timeout,
        deadline: seconds(matches, "deadline")?.unwrap_or(timeout.saturating_mul(DEADLINE)),
        grace: seconds_within(matches, "grace", 0.0..=MAX_SECONDS)?.unwrap_or(GRACE),
        transcript: path(matches, "transcript")?,
        syslog: matches.opt_present("syslog"),
    })
}

/// `-q` lowers the level, `-v` raises it; info without either.
fn level(matches: &Matches) -> ::log::LevelFilter {
    use ::log::LevelFilter::{Debug, Error, Info, Trace, Warn};
    match (matches.opt_count("quiet"), matches.opt_count("verbose")) {
        (0, 0) => Info,
        (0, 1) => Debug,
        (0, _) => Trace,
        (1, _) => Warn,
        _ => Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Service = Service {
        name: "testd",
        about: "A service.",
        port: 7,
        idle: Duration::from_secs(60),
        root: RootPolicy::Nobody,
        facility: Facility::Daemon,
        memory: 1 << 20,
        transport: Transport::Stream,
    };

    fn options(args: &[&str]) -> Result<ServerOptions> {
        let mut options = Options::new();
        declare(&mut options, &SERVICE);
        let args = args.iter().map(OsString::from).collect();
        let matches = parse("testd", "usage", &mut options, args)?;
        free_arguments(&matches, &[])?;
        read(&SERVICE, &matches)
    }

    fn complaint(args: &[&str]) -> String {
        options(args).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let o = options(&[]).unwrap();
        assert_eq!(o.listen, [Endpoint::Any(7)]);
        assert_eq!((o.max_clients, o.backlog), (256, 4096));
        assert_eq!((o.model, o.workers, o.max_per_ip), (Model::Fork, 8, 64));
        assert_eq!((o.over, o.rate), (Over::Busy, None));
        assert_eq!((o.timeout.as_secs(), o.grace.as_secs()), (60, 30));
        assert_eq!(o.deadline.as_secs(), 240);
        assert_eq!(options(&["-t", "5"]).unwrap().deadline.as_secs(), 20);
    }

    #[test]
    fn a_bad_value_is_named() {
        assert!(complaint(&["-c", "0"]).contains("--max-clients '0'"));
        assert!(complaint(&["-b", "many"]).contains("--backlog 'many'"));
        assert!(complaint(&["-t", "0"]).contains("--timeout '0'"));
        assert!(complaint(&["--grace", "-1"]).contains("--grace '-1'"));
        assert!(complaint(&["-t", "NaN"]).contains("--timeout 'NaN'"));
        assert!(complaint(&["-m", "spoon"]).contains("--model 'spoon': not fork, prefork"));
        assert!(complaint(&["-n", "0"]).contains("--workers '0'"));
        assert!(complaint(&["--over", "board"]).contains("--over 'board': not busy or queue"));
        assert!(complaint(&["--rate", "5"]).contains("--rate '5': not N/S"));
        assert!(complaint(&["--frob"]).contains("frob"));
        assert!(complaint(&["-i", "-d"]).contains("--inetd and --daemon"));
        assert!(complaint(&["extra"]).contains("unexpected argument 'extra'"));
    }

    #[test]
    fn the_version_says_how_the_program_is_linked() {
        let said = complaint(&["--version"]);
        assert!(said.starts_with(concat!("testd (forklore) ", env!("CARGO_PKG_VERSION"), ", ")));
        assert!(said.ends_with(", static") || said.ends_with(", dynamic"), "{said}");
    }

    #[test]
    fn paths_become_absolute() {
        let o = options(&["-p", "x.pid"]).unwrap();
        assert!(o.pid_file.unwrap().is_absolute());
    }
}
