//! A program from its arguments to its exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::error::{Error, Result, reason};
use crate::log;
use crate::options::row::OwnOptions;
use crate::options::{self, CommandLine, Service};
use crate::setup::systemd;

/// Runs a program: prints its error, if any, and returns the exit code: 0, 1, or 2 for bad usage.
pub fn main(name: &str, run: impl FnOnce(Vec<OsString>) -> Result<()>) -> ExitCode {
    main_with_codes(name, |args| match run(args) {
        Ok(()) => Ok(0),
        Err(error) => Err((code_of(&error), error)),
    })
}

/// As [`main`], for a program with exit codes of its own: one beside an error, or one that is returned once
/// the program has printed everything itself.
pub fn main_with_codes(
    name: &str,
    run: impl FnOnce(Vec<OsString>) -> std::result::Result<u8, (u8, Error)>,
) -> ExitCode {
    sys::stack_overflow::restore();
    match run(std::env::args_os().skip(1).collect()) {
        Ok(code) => ExitCode::from(code),
        Err((_, Error::Answer(text))) => match writeln!(io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            // `--help | head -1` has read what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{name}: standard output: {}", reason(&error)));
                ExitCode::FAILURE
            }
        },
        Err((code, Error::Usage(text))) => {
            complain(&format!("{name}: {text}\nTry '{name} --help' for more."));
            ExitCode::from(code)
        }
        Err((code, error)) => {
            if log::uses_syslog() {
                ::log::error!("{error}");
            }
            complain(&format!("{name}: {error}"));
            ExitCode::from(code)
        }
    }
}

fn code_of(error: &Error) -> u8 {
    if matches!(error, Error::Usage(_)) { 2 } else { 1 }
}

/// Parses the command line of a daemon, with the file of `--config`, and starts its log.
/// With `--chroot` the current folder is `/` afterwards, so relative paths in the daemon's own
/// options start at the new root.
///
/// Then takes the sockets that systemd has passed, and closes all other descriptors above standard
/// error that the starter has left open. Call it before the program opens descriptors of its own.
///
/// # Errors
/// [`Error::Usage`] names the option that is wrong; [`Error::Answer`] is the text of `--help`
/// and `--version`; a passed descriptor is not open.
pub fn command_line(
    service: &Service,
    own: &OwnOptions,
    args: Vec<OsString>,
) -> Result<CommandLine> {
    let line = options::command_line(service, own, args)?;
    systemd::take_descriptors()?;
    Ok(line)
}

/// Prints to standard error, unless that is the client's own socket, as under inetd.
fn complain(text: &str) {
    if !log::stderr_is_the_client() {
        let _ = writeln!(io::stderr(), "{text}"); // nowhere else to report
    }
}
