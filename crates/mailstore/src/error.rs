//! Errors of a mail store.

use std::fmt;
use std::io;
use std::path::Path;

use nix::errno::Errno;

/// Why an operation failed, displayed as `what: reason`.
#[derive(Debug)]
pub enum Error {
    /// A file or folder could not be used.
    Io {
        /// The operation, such as `open /home/levy/Maildir`.
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// Another session holds the lock of this maildrop.
    InUse {
        /// The maildrop's path.
        what: String,
    },
    /// A refusal by this crate, with its reason.
    Refused(String),
    /// A refusal that may pass, with its reason: what is there is not as it should be.
    Temporary(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `map_err(Error::io("open", path))`. The text is made once there is an error.
    pub(crate) fn io<E: Into<io::Error>>(verb: &str, path: &Path) -> impl FnOnce(E) -> Error {
        move |source| Error::Io {
            what: format!("{verb} {}", path.display()),
            source: source.into(),
        }
    }

    /// Returns the kind of the underlying I/O error, if there is one.
    #[must_use]
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Io { source, .. } => Some(source.kind()),
            Error::InUse { .. } | Error::Refused(_) | Error::Temporary(_) => None,
        }
    }

    /// Returns whether there is no room: the disk is full, or a quota or limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Io { source, .. } if is_full(source))
    }

    /// Returns whether a later attempt may succeed without a repair. True for a full disk, a lack
    /// of descriptors or memory, an I/O error, and a folder that is missing, because its disk may be mounted later. False for a missing permission or a file in
    /// place of a folder. RFC 3206 §4 and §5 make the same distinction for the client.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let Error::Io { source, .. } = self else { return !matches!(self, Error::Refused(_)) };
        let Some(code) = source.raw_os_error() else { return true };
        !matches!(
            Errno::from_raw(code),
            Errno::EACCES
                | Errno::EPERM
                | Errno::EROFS
                | Errno::ENOTDIR
                | Errno::EISDIR
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
                | Errno::EINVAL
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { what, source } => write!(f, "{what}: {}", reason(source)),
            Error::InUse { what } => write!(f, "{what}: in use by another session"),
            Error::Refused(why) | Error::Temporary(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

/// Returns whether there is no room, as [`Error::is_full`].
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG))
}

/// Formats an I/O error as strerror(3) does, without Rust's `(os error 28)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.clone(), |(words, _)| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_displayed_as_operation_and_reason() {
        let error = Error::io("open", Path::new("/m"))(Errno::ENOSPC);
        assert_eq!(error.to_string(), "open /m: No space left on device");
        assert!(error.is_temporary() && error.is_full());
        let error = Error::io("open", Path::new("/m"))(Errno::ELOOP);
        assert_eq!(error.to_string(), "open /m: Too many levels of symbolic links");
        assert!(!Error::io("open", Path::new("/m"))(Errno::ENOTDIR).is_temporary());
    }
}
