//! The error that ends a program, printed once as `name: what: reason`.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Why a program ends without success.
#[derive(Debug)]
pub enum Error {
    /// The command line is wrong; exit code 2.
    Usage(String),
    /// No error, but the text of `--help` or `--version` for standard output; exit code 0.
    Answer(String),
    /// A system call failed.
    Os {
        /// The failed action, such as `bind 0.0.0.0:110`.
        what: String,
        /// The reason.
        errno: Errno,
    },
    /// Input or output failed.
    Io {
        /// The failed action, such as `users /etc/forklore/users`.
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// The program itself refuses; the text is the reason.
    Refused(String),
}

/// A result whose error ends the program.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes the error of a failed system call: `map_err(Error::os("setsid"))`.
    pub fn os(what: impl Into<String>) -> impl FnOnce(Errno) -> Error {
        let what = what.into();
        move |errno| Error::Os { what, errno }
    }

    /// Makes the error of failed input or output: `map_err(Error::io("users FILE"))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) | Error::Answer(text) | Error::Refused(text) => f.write_str(text),
            Error::Os { what, errno } => write!(f, "{what}: {}", strerror(*errno)),
            Error::Io { what, source } => write!(f, "{what}: {}", reason(source)),
        }
    }
}

impl std::error::Error for Error {}

/// Returns the reason of an I/O error as strerror(3) does, without Rust's `(os error 13)`.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error().map(|code| format!(" (os error {code})")) {
        Some(suffix) => text.strip_suffix(&suffix).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// Returns the text of an errno as strerror(3) does.
pub(crate) fn strerror(errno: Errno) -> String {
    reason(&errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_action_and_the_text_of_errno() {
        let error = Error::os("bind 0.0.0.0:110")(Errno::EACCES);
        assert_eq!(error.to_string(), "bind 0.0.0.0:110: Permission denied");
        let error = Error::io("users u")(io::Error::from_raw_os_error(Errno::ENOENT as i32));
        assert_eq!(error.to_string(), "users u: No such file or directory");
        assert_eq!(strerror(Errno::EAGAIN), "Resource temporarily unavailable");
    }
}
