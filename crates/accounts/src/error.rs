//! What can go wrong with accounts.

use std::fmt;
use std::io;
use std::path::Path;

/// Why an operation failed, displayed as `what: reason`.
#[derive(Debug)]
pub enum Error {
    /// A file could not be used, or the system has no random numbers.
    Io {
        /// What was tried, such as `users /etc/forklore/users`.
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// A refusal by this crate, with its reason.
    Refused(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `map_err(Error::io("users", path))`.
    pub(crate) fn io<E: Into<io::Error>>(what: &str, path: &Path) -> impl FnOnce(E) -> Error {
        let what = format!("{what} {}", path.display());
        move |source| Error::Io { what, source: source.into() }
    }
}

impl fmt::Display for Error {
    /// Omits Rust's `(os error 2)`, as strerror(3) does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { what, source } => {
                let text = source.to_string();
                let reason = text.split_once(" (os error ").map_or(&text[..], |(words, _)| words);
                write!(f, "{what}: {reason}")
            }
            Error::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_what_and_reason() {
        let source = io::Error::from_raw_os_error(2);
        let error = Error::io("users", Path::new("/u"))(source);
        assert_eq!(error.to_string(), "users /u: No such file or directory");
        assert_eq!(Error::Refused("no".to_owned()).to_string(), "no");
    }
}
