//! Why a delivery failed.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::protocol::envelope::Recipient;
use crate::protocol::reply::Reply;

/// Why a letter could not be stored.
#[derive(Debug)]
pub enum Error {
    /// A Maildir operation failed.
    Store(mailstore::Error),
    /// Writing the letter failed.
    Io {
        /// The operation, such as `write to the mailbox of levy`.
        what: String,
        /// The reason.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn mailbox(
        verb: &str,
        recipient: &Recipient,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Io {
            what: format!("{verb} the mailbox of {}", recipient.user),
            source: source.into(),
        }
    }

    /// Returns the temporary refusal for the client: 452 if the disk is full, otherwise 451 (RFC
    /// 5321 §4.2.3).
    #[must_use]
    pub fn reply(&self) -> Reply {
        let source = match self {
            Error::Store(mailstore::Error::Io { source, .. }) | Error::Io { source, .. } => source,
            Error::Store(_) => return Error::local(),
        };
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
                Reply::new(452, "4.3.1", "No room for the letter, try again later")
            }
            _ => Error::local(),
        }
    }

    /// Returns the error for a letter without a recipient, which must never be acknowledged.
    #[must_use]
    pub fn no_recipient() -> Error {
        Error::Io {
            what: "deliver without a recipient".into(),
            source: io::ErrorKind::InvalidInput.into(),
        }
    }

    fn local() -> Reply {
        Reply::new(451, "4.3.0", "The letter could not be stored, try again later")
    }
}

impl From<mailstore::Error> for Error {
    fn from(error: mailstore::Error) -> Error {
        Error::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store(error) => error.fmt(f),
            Error::Io { what, source } => write!(f, "{what}: {}", forknet::reason(source)),
        }
    }
}

impl std::error::Error for Error {}
