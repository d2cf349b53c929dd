//! Why a letter was not taken, with the exit code that sysexits(3) has for it.

use std::io;

use forknet::Error;
use smtpclient::Status;

/// A failure: the exit code, and what it is.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) error: Error,
}

/// A result of the command.
pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(super) fn usage(why: impl Into<String>) -> Failure {
        Failure { code: Status::Usage as u8, error: Error::Usage(why.into()) }
    }

    pub(super) fn data(why: impl Into<String>) -> Failure {
        Failure { code: Status::Data as u8, error: Error::Refused(why.into()) }
    }

    pub(super) fn unavailable(why: impl Into<String>) -> Failure {
        Failure { code: Status::Unavailable as u8, error: Error::Refused(why.into()) }
    }

    pub(super) fn config(why: impl Into<String>) -> Failure {
        Failure { code: Status::Config as u8, error: Error::Refused(why.into()) }
    }

    /// What may go away: a full disk, rights, a server that does not answer.
    pub(super) fn temporary(error: Error) -> Failure {
        Failure { code: Status::Temporary as u8, error }
    }

    pub(super) fn io(what: &str, error: io::Error) -> Failure {
        Failure::temporary(Error::io(what)(error))
    }

    /// Whether the same may succeed later.
    pub(super) fn is_temporary(&self) -> bool {
        self.code == Status::Temporary as u8
    }
}

/// What the options' rows say: a wrong line of the file, or of the command line.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error {
            Error::Usage(_) | Error::Answer(_) => Status::Usage as u8,
            Error::Refused(_) => Status::Config as u8,
            Error::Os { .. } | Error::Io { .. } => Status::Temporary as u8,
        };
        Failure { code, error }
    }
}
