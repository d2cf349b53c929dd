//! lib/error.c: `err_sys` prints what failed and why, and the program ends.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::note::note;

/// Why a program ends without success.
#[derive(Debug)]
pub struct Failure {
    text: String,
    /// 1, or 2 for bad usage.
    code: u8,
}

/// The result of a program, or of a part of it.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Makes the failure of a system call, `what: reason`: `bind(…).map_err(err_sys("bind error"))?`.
pub fn err_sys<E: Into<io::Error>>(what: impl fmt::Display) -> impl FnOnce(E) -> Failure {
    move |error| err_quit(format!("{what}: {}", forknet::reason(&error.into())))
}

/// Makes any other failure.
pub fn err_quit(text: impl Into<String>) -> Failure {
    Failure { text: text.into(), code: 1 }
}

/// Makes the failure of a wrong command line.
pub fn err_usage(usage: &str) -> Failure {
    Failure { text: usage.to_owned(), code: 2 }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Runs a program: prints its one error as `NAME: what: reason`, and gives its exit code.
pub fn main(program: impl FnOnce() -> Result) -> ExitCode {
    sys::stack_overflow::restore();
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

/// Prints the error, if there is one, and goes on. For what ends a client's connection and not the
/// server.
pub fn complain(result: Result) {
    if let Err(failure) = result {
        failure.print();
    }
}

impl Failure {
    fn print(&self) {
        let path = std::env::args_os().next().unwrap_or_default();
        let name = std::path::Path::new(&path).file_name().unwrap_or_default().display();
        match self.code {
            2 => note(self),
            _ => note(format_args!("{name}: {self}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn an_error_reads_what_and_reason() {
        let failure = err_sys("bind error")(Errno::EADDRINUSE);
        assert_eq!(failure.to_string(), "bind error: Address already in use");
        let failure = err_sys("accept error")(io::Error::from(Errno::EINTR));
        assert_eq!(failure.to_string(), "accept error: Interrupted system call");
    }
}
