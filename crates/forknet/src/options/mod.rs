//! The options that every daemon has.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use getopts::Matches;
use nix::sys::signal::Signal;
use sys::signal;

use crate::error::{Error, Result};
use crate::log;
use crate::net::endpoint::Endpoint;
use crate::net::proxies::Proxies;
use crate::net::transport::Transport;

mod common;
mod completions;
pub(crate) mod config_file;
mod documents;
pub(crate) mod limits;
mod manual;
mod markup;
mod matching;
pub(crate) mod model;
mod program;
pub(crate) mod row;
mod service;
mod usage;
pub(crate) mod values;

use config_file::Line;
use limits::{Over, Rate};
use matching::matches;
use model::Model;
use program::Program;
use row::{OwnOptions, Row};
pub use service::{RootPolicy, Service};
use values::{MAX_SECONDS, Values};

/// Longest session unless `--deadline` says otherwise: this number of idle limits.
const DEADLINE: u32 = 4;

/// Longest work of a process that has no client, unless `--deadline` says otherwise.
const JOB_DEADLINE: Duration = Duration::from_secs(3600);

/// Bits of an IPv6 network whose addresses one client of a stream may have all.
const NETWORK_BITS: u32 = 64;

/// The signals that a server lets in while it waits, and nowhere else.
pub(crate) const SIGNALS: [Signal; 5] =
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// The value of every common option.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen (`-l`); empty for a program without clients alone.
    pub listen: Vec<Endpoint>,
    /// The server's design (`-m`).
    pub model: Model,
    /// Children of the prefork model (`-n`).
    pub workers: usize,
    /// Clients at once (`-c`).
    pub max_clients: usize,
    /// Clients at once from one address (`--max-per-ip`).
    pub max_per_ip: usize,
    /// Bits of an IPv6 address that count as one address.
    pub network_bits: u32,
    /// What a client over a limit meets with (`--over`).
    pub over: Over,
    /// How many connections one address may make in what time (`--rate`).
    pub rate: Option<Rate>,
    /// Who may tell a client's address (`--proxy-from`).
    pub proxy_from: Proxies,
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
    /// How long a whole session may last (`--deadline`), and a second more for each 128 bytes.
    pub deadline: Duration,
    /// How long sessions may run on after SIGTERM (`--grace`).
    pub grace: Duration,
    /// Where every dialogue line is appended (`--transcript`).
    pub transcript: Option<PathBuf>,
    /// Log to syslog(3) (`--syslog`).
    pub syslog: bool,
    /// Read everything, say what is wrong, and serve nothing (`--check`).
    pub check: bool,
}

/// A parsed command line: what is common, and the values of the daemon's own options.
#[derive(Debug)]
pub struct CommandLine {
    /// The common options.
    pub server: ServerOptions,
    /// Everything, for the daemon's own options.
    pub values: Values,
}

/// The part of [`crate::command_line`] that is about the command line itself.
pub(crate) fn command_line(
    service: &Service,
    own: &OwnOptions,
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

fn parse_line(service: &Service, own: &OwnOptions, args: Vec<OsString>) -> Result<CommandLine> {
    let values = with_file(Program::daemon(service, own), args)?;
    free_arguments(&values, &[])?;
    let server = read(service, &values)?;
    let facility = server.syslog.then_some(service.facility);
    log::start(service.name, level(&values), server.inetd, facility)?;
    if server.chroot.is_some() {
        // What the daemon's own options name is seen from the new root later.
        std::env::set_current_dir("/").map_err(Error::io("chdir /"))?;
    }
    Ok(CommandLine { server, values })
}

impl CommandLine {
    /// Lets SIGTERM and the others in again, which wait since the start: for a program that turns
    /// out to be no server.
    ///
    /// # Errors
    /// As sigprocmask(2).
    pub fn is_no_server(&self) -> Result<()> {
        signal::unblock(&SIGNALS).map_err(Error::os("sigprocmask"))
    }
}

/// Parses the command line of a client; `--help` and `--version` are added to its rows.
///
/// # Errors
/// As [`crate::command_line`].
pub fn parse(
    name: &'static str,
    usage: &str,
    rows: &'static [Row],
    args: Vec<OsString>,
) -> Result<Values> {
    parse_with_lines(name, usage, rows, args, Vec::new())
}

/// As [`parse`], with the lines of a file, over which the command line wins.
///
/// # Errors
/// As [`crate::command_line`].
pub fn parse_with_lines(
    name: &'static str,
    usage: &str,
    rows: &'static [Row],
    args: Vec<OsString>,
    lines: Vec<Line>,
) -> Result<Values> {
    let program = Program::client(name, usage, rows);
    documents::answer(&program, &args)?;
    let given = matches(&program, args.clone())?;
    with_lines(program, args, (given, lines), false)
}

/// As [`parse`], with the file that `--config` names, or else the first of `defaults` that is there: one option a line, over
/// which the command line wins.
///
/// # Errors
/// As [`crate::command_line`]; [`Error::Refused`] for a file that cannot be read, or has a wrong line.
pub fn parse_with_file(
    name: &'static str,
    usage: &str,
    rows: &'static [Row],
    args: Vec<OsString>,
    defaults: &[PathBuf],
) -> Result<Values> {
    let program = Program::client(name, usage, rows);
    documents::answer(&program, &args)?;
    let given = matches(&program, args.clone())?;
    let is_there = |path: &&PathBuf| path.symlink_metadata().is_ok();
    let default = || Some(defaults.iter().find(is_there)?.to_string_lossy().into_owned());
    let lines = match given.opt_str("config").or_else(default) {
        Some(file) => config_file::read(&file, &program).map_err(Error::Refused)?,
        None => Vec::new(),
    };
    with_lines(program, args, (given, lines), false)
}

/// The command line of a daemon and the file that its `--config` names. Everything is judged as one command
/// line, in which the lines of the file come first.
fn with_file(program: Program, args: Vec<OsString>) -> Result<Values> {
    documents::answer(&program, &args)?;
    // Even where the command line cannot be read.
    let checks = args.iter().any(|arg| arg == "--check");
    let failed = |text: String| match checks {
        true => Error::Refused(text),
        false => Error::Usage(text),
    };
    let wrong = |error: Error| match error {
        Error::Usage(text) => failed(text),
        other => other,
    };
    let given = matches(&program, args.clone()).map_err(wrong)?;
    let Some(file) = given.opt_str("config") else {
        return finished(Values { program, matches: given, lines: Vec::new(), checks });
    };
    let lines = config_file::read(&file, &program).map_err(failed)?;
    with_lines(program, args, (given, lines), checks).map_err(wrong)
}

/// Judges the lines of a file and a command line, of which `given` is known, as one command line.
fn with_lines(
    program: Program,
    args: Vec<OsString>,
    (given, mut lines): (Matches, Vec<Line>),
    checks: bool,
) -> Result<Values> {
    lines.retain(|line| holds(line, &program, &given));
    let from_file = lines.iter().filter_map(|line| Some(line.argument(program.row(line.name)?)));
    let all = from_file.map(OsString::from).chain(args).collect();
    let matches = matches(&program, all)?;
    finished(Values { program, matches, lines, checks })
}

/// Returns true unless the command line says otherwise than a line of the file.
fn holds(line: &Line, program: &Program, given: &Matches) -> bool {
    let Some(row) = program.row(line.name) else { return false };
    let opposite = match row.name {
        "quiet" => "verbose",
        "verbose" => "quiet",
        _ => row.excludes,
    };
    let is_given = |name: &str| program.row(name).is_some() && given.opt_present(name);
    (row.repeats || !is_given(row.name)) && !is_given(opposite)
}

/// What the rows themselves say of values: one option excludes another.
fn finished(values: Values) -> Result<Values> {
    for row in values.program.rows().filter(|row| values.knows(row.excludes)) {
        if values.is_given(row.name) && values.is_given(row.excludes) {
            let why = format!("--{} and --{}: only one of them", row.name, row.excludes);
            return Err(values.conflict(&[row.name, row.excludes], why));
        }
    }
    Ok(values)
}

/// Checks the arguments that are no options against their names; a name in brackets is optional.
///
/// # Errors
/// [`Error::Usage`] names the first one that is missing or too many.
pub fn free_arguments(values: &Values, names: &[&str]) -> Result<()> {
    let free = values.operands();
    if let Some(missing) = names.get(free.len()).filter(|name| !name.starts_with('[')) {
        return Err(values.error(format!("{missing} is missing")));
    }
    match free.get(names.len()) {
        Some(extra) => Err(values.error(format!("unexpected argument '{extra}'"))),
        None => Ok(()),
    }
}

fn read(service: &Service, values: &Values) -> Result<ServerOptions> {
    let check = values.is_given("check");
    let timeout = values.seconds("timeout")?;
    let deadline = values.seconds_if_given("deadline")?;
    let is_datagram = service.transport == Transport::Datagram;
    let has_clients = service.transport != Transport::Jobs;
    let has_models = has_clients && !is_datagram;
    Ok(ServerOptions {
        listen: if has_clients { listen(service, values)? } else { Vec::new() },
        model: if has_models { Model::named(values.choice("model")?) } else { Model::Fork },
        workers: if has_models { values.number("workers", 1..=10_000)? } else { 0 },
        max_clients: values.number("max-clients", 1..=1_000_000)?,
        max_per_ip: values.number_if_given("max-per-ip", 1..=1_000_000)?.unwrap_or(usize::MAX),
        network_bits: if is_datagram { u128::BITS } else { NETWORK_BITS },
        over: if has_clients { Over::named(values.choice("over")?) } else { Over::Queue },
        rate: values.parsed::<Rate>("rate")?,
        proxy_from: if has_models { proxy_from(values)? } else { Proxies::default() },
        backlog: values.number_if_given("backlog", 1..=65_535)?.unwrap_or_default(),
        inetd: values.is_given("inetd"),
        daemon: values.is_given("daemon"),
        pid_file: values.path("pid-file")?,
        user: values.text("user"),
        chroot: values.path("chroot")?,
        timeout,
        deadline: deadline.unwrap_or(if has_clients {
            timeout.saturating_mul(DEADLINE)
        } else {
            JOB_DEADLINE
        }),
        grace: values.seconds_within("grace", 0.0..=MAX_SECONDS)?.unwrap_or_default(),
        transcript: values.path("transcript")?,
        syslog: values.is_given("syslog") && !check, // faults go to standard error
        check,
    })
}

/// Where to listen; never empty.
fn listen(service: &Service, values: &Values) -> Result<Vec<Endpoint>> {
    let endpoints = values.texts("listen").into_iter().map(|text| {
        let endpoint =
            text.parse::<Endpoint>().map_err(|why| values.wrong("listen", &text, why))?;
        let fits = service.transport.check(&endpoint);
        fits.map(|()| endpoint).map_err(|why| values.wrong("listen", &text, why))
    });
    endpoints.collect()
}

fn proxy_from(values: &Values) -> Result<Proxies> {
    let mut proxies = Proxies::default();
    for text in values.texts("proxy-from") {
        proxies.add(&text).map_err(|why| values.wrong("proxy-from", &text, why))?;
    }
    Ok(proxies)
}

/// `-q` lowers the level, `-v` raises it; info without either.
fn level(values: &Values) -> ::log::LevelFilter {
    use ::log::LevelFilter::{Debug, Error, Info, Trace, Warn};
    match (values.count("quiet"), values.count("verbose")) {
        (_, 0) if values.is_given("check") => Warn, // even under -qq: a warning is a fault then
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
    use crate::log::syslog::Facility;

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
        let args = args.iter().map(OsString::from).collect();
        let values = with_file(Program::daemon(&SERVICE, &OwnOptions::NONE), args)?;
        free_arguments(&values, &[])?;
        read(&SERVICE, &values)
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
        assert!(complaint(&["--proxy-from", "10.0.0.0/33"]).contains("--proxy-from '10.0.0.0/33'"));
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
