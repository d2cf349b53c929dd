//! The log: one line an event, to standard error, written with one write(2).

use std::io::{self, Write};
use std::os::fd::AsFd;

use env_logger::{Builder, Target};
use log::LevelFilter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

use crate::error::{Error, Result};
use crate::inherit::same_file;

/// How long a line waits, in milliseconds, for a pipe that is full or a terminal that was stopped.
const PATIENCE: u16 = 500;

/// Starts the log of a program. `RUST_LOG` wins over `level`.
///
/// A line reads `2026-01-31T12:00:00.000Z INFO echod[4242]: listening on 127.0.0.1:7`.
/// Under inetd standard error can be the client's own socket; then nothing is logged, because the
/// client would get to read it.
pub(crate) fn start(name: &'static str, level: LevelFilter, inetd: bool) -> Result<()> {
    let mut builder = Builder::new();
    if inetd && stderr_is_the_client() {
        builder.filter_level(LevelFilter::Off);
    } else if std::env::var_os("RUST_LOG").is_some() {
        builder.parse_default_env();
    } else {
        builder.filter_level(level);
    }
    builder.target(Target::Pipe(Box::new(StandardError { is_stuck: false })));
    builder.format(move |line, record| {
        let (now, pid) = (line.timestamp_millis(), std::process::id());
        writeln!(line, "{now} {} {name}[{pid}]: {}", record.level(), record.args())
    });
    builder.try_init().map_err(|e| Error::Io { what: "log".into(), source: io::Error::other(e) })
}

/// Standard error for a server that must not stand still because nobody reads its log: when there
/// is no room for a line in time it is lost, and so are, at once, those that follow until there is.
struct StandardError {
    is_stuck: bool,
}

impl Write for StandardError {
    /// Lines are shorter than PIPE_BUF: what poll(2) calls writable takes one without blocking.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr();
        let patience = if self.is_stuck { PollTimeout::ZERO } else { PATIENCE.into() };
        let ready = poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], patience);
        self.is_stuck = ready == Ok(0);
        if self.is_stuck { Ok(line.len()) } else { stderr.write(line) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // standard error has no buffer
    }
}

/// True when standard error and standard input are one socket, as inetd hands them over.
pub(crate) fn stderr_is_the_client() -> bool {
    let is_socket = |mode| mode & libc::S_IFMT == libc::S_IFSOCK;
    fstat(io::stdin()).is_ok_and(|input| is_socket(input.st_mode))
        && same_file(io::stdin(), io::stderr())
}
