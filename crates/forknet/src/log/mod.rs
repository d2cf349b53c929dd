//! The log: one line per event, to standard error or to syslog(3).

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use sys::fd::{is_socket, same_file};

use crate::error::{Error, Result};

pub(crate) mod contract;
pub(crate) mod log_file;
pub(crate) mod stderr;
pub(crate) mod syslog;
pub(crate) mod throttle;
pub(crate) mod transcript;

use stderr::Utc;
use syslog::{Facility, Syslog};

/// Warnings and errors that were logged to standard error.
static WARNINGS: AtomicUsize = AtomicUsize::new(0);

/// The socket to syslogd, under `--syslog`.
static SYSLOG: Mutex<Option<Syslog>> = Mutex::new(None);

/// Starts the log of a program, on standard error or under a facility of syslog(3). `RUST_LOG`
/// overrides `level`.
///
/// A line reads `2026-01-31T12:00:00.000Z INFO echod[4242]: listening on 127.0.0.1:7`. Under inetd
/// standard error can be the client's own socket. Then nothing is logged there, because the client
/// would receive it.
pub(crate) fn start(
    name: &'static str,
    level: LevelFilter,
    inetd: bool,
    facility: Option<Facility>,
) -> Result<()> {
    let mut builder = Builder::new();
    if inetd && facility.is_none() && stderr_is_the_client() {
        builder.filter_level(LevelFilter::Off);
    } else if std::env::var_os("RUST_LOG").is_some() {
        builder.parse_default_env();
    } else {
        builder.filter_level(level);
    }
    let started = match facility {
        Some(facility) => {
            to_syslog(&mut builder, name, facility);
            builder.try_init()
        }
        None => to_stderr(&mut builder, name),
    };
    started.map_err(|e| Error::Io { what: "log".into(), source: io::Error::other(e) })
}

/// Returns how many warnings and errors were logged to standard error.
pub(crate) fn warnings() -> usize {
    WARNINGS.load(Relaxed)
}

fn to_stderr(builder: &mut Builder, name: &'static str) -> std::result::Result<(), SetLoggerError> {
    stderr::start();
    let filter = builder.build();
    ::log::set_max_level(filter.filter());
    ::log::set_boxed_logger(Box::new(ToStandardError { name, filter }))
}

/// Logs to syslog(3), panics too, because standard error is /dev/null in a daemon.
fn to_syslog(builder: &mut Builder, name: &'static str, facility: Facility) {
    syslog::timestamp(SystemTime::now()); // reads the time zone, which chroot(2) would hide
    *syslog() = Some(Syslog::new(syslog::SOCKET.into()));
    builder.target(Target::Pipe(Box::new(ToSyslog)));
    builder.format(move |line, record| {
        let (level, pid) = (record.level(), std::process::id());
        line.write_all(syslog::line(facility, level, name, pid, record.args()).as_bytes())
    });
    std::panic::set_hook(Box::new(|panic| ::log::error!("{panic}")));
}

fn syslog() -> MutexGuard<'static, Option<Syslog>> {
    SYSLOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns true under `--syslog`.
pub(crate) fn uses_syslog() -> bool {
    syslog().is_some()
}

/// Connects to syslogd under `--syslog`, before a chroot(2) hides its socket, and after the
/// descriptors that the program was started with are known. Prints a failure on standard error;
/// each line tries again.
pub(crate) fn connect_syslog(name: &str) {
    let mut syslog = syslog();
    let Some(syslog) = syslog.as_mut() else { return };
    syslog.connect();
    if let Some(complaint) = syslog.complaint()
        && !stderr_is_the_client()
    {
        stderr::line(format_args!("{name}: {complaint}\n"));
    }
}

/// Closes the socket to syslogd, in a process that logs nothing.
pub(crate) fn close_syslog() {
    *syslog() = None;
}

/// Writes lines to [`SYSLOG`].
struct ToSyslog;

impl Write for ToSyslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        syslog().as_mut().map_or(Ok(line.len()), |syslog| syslog.write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines to the buffer; env_logger only filters them.
struct ToStandardError {
    name: &'static str,
    filter: env_logger::Logger,
}

impl Log for ToStandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            if record.level() <= Level::Warn {
                WARNINGS.fetch_add(1, Relaxed);
            }
            let (now, pid) = (Utc(SystemTime::now()), std::process::id());
            let (level, name, text) = (record.level(), self.name, record.args());
            stderr::line(format_args!("{now} {level} {name}[{pid}]: {text}\n"));
            if !is_routine(record) {
                stderr::flush();
            }
        }
    }

    fn flush(&self) {
        stderr::flush();
    }
}

/// Returns true for a client's start or end, which may wait for more lines.
fn is_routine(record: &Record<'_>) -> bool {
    record.level() == Level::Info && record.target().starts_with("forknet")
}

/// Returns true when standard error and standard input are one socket, as inetd hands them over.
pub(crate) fn stderr_is_the_client() -> bool {
    is_socket(io::stdin()) && same_file(io::stdin(), io::stderr())
}
