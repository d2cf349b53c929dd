//! Credentials of a login, and why it fails. The check is in a process that may read the accounts.

use accounts::Secret;

/// The credentials of a login.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// How they came.
    pub mechanism: Mechanism,
    /// The user's name, as the client gave it.
    pub name: Vec<u8>,
    /// The proof that the client is the user.
    pub proof: Proof,
}

/// How credentials come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// USER and PASS (RFC 1939 §7).
    Pass,
    /// APOP (RFC 1939 §7).
    Apop,
    /// AUTH (RFC 4954, RFC 5034).
    Auth(accounts::Mechanism),
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mechanism::Pass => f.write_str("PASS"),
            Mechanism::Apop => f.write_str("APOP"),
            Mechanism::Auth(mechanism) => write!(f, "AUTH {mechanism}"),
        }
    }
}

/// The proof that the client is the user.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    /// The password in the clear.
    Password(Secret),
    /// The digest of APOP or CRAM-MD5 (RFC 1939 §7, RFC 2195).
    Digest {
        /// The timestamp of the greeting, or the challenge.
        challenge: Vec<u8>,
        /// The digest over it and the shared secret, as the client gave it: of MD5, in hexadecimal.
        digest: Vec<u8>,
    },
}

/// Why a login failed, as far as the process knows that talks to the client. The reason is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no such user, or the password is wrong.
    Rejected,
    /// It could not be checked.
    NotChecked,
    /// The user has logged in only a moment ago (`--login-delay`).
    TooSoon,
    /// Another session has the maildrop.
    InUse,
    /// The maildrop cannot be opened now.
    Temporary,
    /// The maildrop cannot be opened until it is repaired.
    Permanent,
}
