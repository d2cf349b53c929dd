//! Why a letter was not taken, with the exit code that sysexits(3) has for it.

use std::io;

use forknet::Error;

/// `EX_USAGE`: the command line is wrong.
const USAGE: u8 = 64;
/// `EX_DATAERR`: the letter is: an address in its header.
const DATA: u8 = 65;
/// `EX_UNAVAILABLE`: a program is not there.
const UNAVAILABLE: u8 = 69;
/// `EX_TEMPFAIL`: another try may succeed.
const TEMPORARY: u8 = 75;
/// `EX_CONFIG`: the configuration file.
const CONFIG: u8 = 78;

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
        Failure { code: USAGE, error: Error::Usage(why.into()) }
    }

    pub(super) fn data(why: impl Into<String>) -> Failure {
        Failure { code: DATA, error: Error::Refused(why.into()) }
    }

    pub(super) fn unavailable(why: impl Into<String>) -> Failure {
        Failure { code: UNAVAILABLE, error: Error::Refused(why.into()) }
    }

    pub(super) fn config(why: impl Into<String>) -> Failure {
        Failure { code: CONFIG, error: Error::Refused(why.into()) }
    }

    /// What may go away: a full disk, rights, a server that does not answer.
    pub(super) fn temporary(error: Error) -> Failure {
        Failure { code: TEMPORARY, error }
    }

    pub(super) fn io(what: &str, error: io::Error) -> Failure {
        Failure::temporary(Error::io(what)(error))
    }

    /// Whether the same may succeed later.
    pub(super) fn is_temporary(&self) -> bool {
        self.code == TEMPORARY
    }
}

/// What the options' rows say: a wrong line of the file, or of the command line.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error {
            Error::Usage(_) | Error::Answer(_) => USAGE,
            Error::Refused(_) => CONFIG,
            Error::Os { .. } | Error::Io { .. } => TEMPORARY,
        };
        Failure { code, error }
    }
}
