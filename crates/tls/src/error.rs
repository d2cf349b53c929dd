//! What can go wrong with TLS.

use std::fmt;
use std::path::Path;

/// `what: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Error {
        Error(format!("{what}: {why}"))
    }

    /// `map_err(Error::file("certificate", path))`
    pub(crate) fn file<E: fmt::Display>(what: &str, path: &Path) -> impl FnOnce(E) -> Error {
        let what = format!("{what} {}", path.display());
        move |why| Error::new(what, why)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for forknet::Error {
    fn from(error: Error) -> forknet::Error {
        forknet::Error::Refused(error.0)
    }
}
