//! The exit codes of sysexits(3), as the programs of mail have them.

/// An exit code, with its name in sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// `EX_USAGE`: the command line is wrong.
    Usage = 64,
    /// `EX_DATAERR`: a server does not take a letter of this form or size.
    Data = 65,
    /// `EX_NOINPUT`: a maildrop, or an account here, is in use by another session.
    InUse = 66,
    /// `EX_NOUSER`: the server does not know the recipient.
    NoUser = 67,
    /// `EX_NOHOST`: there is no such domain, or none of its hosts has an address.
    NoHost = 68,
    /// `EX_UNAVAILABLE`: another refusal that the next try will meet again.
    Unavailable = 69,
    /// `EX_CANTCREAT`: where letters are to be stored cannot be opened or made.
    CannotCreate = 73,
    /// `EX_IOERR`: reading or writing failed on this machine.
    Io = 74,
    /// `EX_TEMPFAIL`: another try may succeed.
    Temporary = 75,
    /// `EX_PROTOCOL`: the reply is none of the protocol, exceeds a limit, or TLS failed.
    Protocol = 76,
    /// `EX_NOPERM`: the login was refused, or is needed.
    NoPermission = 77,
    /// `EX_CONFIG`: a file of the configuration is wrong.
    Config = 78,
}
