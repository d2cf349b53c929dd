//! Credentials of a login, and why it fails. The check is outside of the protocol, because it reads
//! the users file and takes the rights of the maildrop's owner.

use mailstore::Error;

/// The credentials of a login. They have no `Debug`, because they hold the password.
pub struct Credentials {
    /// `PASS`, `APOP` or `AUTH PLAIN`, for the log.
    pub mechanism: &'static str,
    /// The user's name.
    pub name: Vec<u8>,
    /// The proof of the identity.
    pub secret: Secret,
}

/// The proof that the client is the user.
pub enum Secret {
    /// The password in the clear.
    Password(Vec<u8>),
    /// The digest of APOP (RFC 1939 §7).
    Apop {
        /// The timestamp of the greeting.
        timestamp: String,
        /// The digest over it and the shared secret.
        digest: Vec<u8>,
    },
}

/// Why a login failed.
#[derive(Debug)]
pub enum LoginError {
    /// There is no such user, or the password is wrong.
    Rejected,
    /// The users file cannot be read.
    Users(Error),
    /// The user's maildrop cannot be opened.
    Maildrop(Error),
}
