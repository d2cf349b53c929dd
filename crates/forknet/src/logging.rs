//! The log: one line an event, to standard error, written with one write(2).

use std::io::{self, Write};

use log::LevelFilter;
use nix::sys::stat::fstat;

use crate::error::{Error, Result};

/// Starts the log of a program. `RUST_LOG` wins over `level`.
///
/// A line reads `2026-01-31T12:00:00.000Z INFO echod[4242]: listening on 127.0.0.1:7`.
/// Under inetd standard error can be the client's own socket; then nothing is logged, because the
/// client would get to read it.
pub(crate) fn start(name: &'static str, level: LevelFilter, inetd: bool) -> Result<()> {
    let mut builder = env_logger::Builder::new();
    if std::env::var_os("RUST_LOG").is_some() {
        builder.parse_default_env();
    } else {
        builder.filter_level(level);
    }
    if inetd && stderr_is_the_client() {
        builder = env_logger::Builder::new();
        builder.filter_level(LevelFilter::Off);
    }
    builder.format(move |line, record| {
        let (now, pid) = (line.timestamp_millis(), std::process::id());
        writeln!(line, "{now} {} {name}[{pid}]: {}", record.level(), record.args())
    });
    builder.try_init().map_err(|e| Error::Io { what: "log".into(), source: io::Error::other(e) })
}

/// True when standard error and standard input are one socket, as inetd hands them over.
pub(crate) fn stderr_is_the_client() -> bool {
    match (fstat(io::stdin()), fstat(io::stderr())) {
        (Ok(input), Ok(error)) => {
            let socket = input.st_mode & libc::S_IFMT == libc::S_IFSOCK;
            socket && (input.st_dev, input.st_ino) == (error.st_dev, error.st_ino)
        }
        _ => false,
    }
}
