//! What a field and a password may be.

use std::fmt;

/// Longest password in bytes (RFC 4616 §2: a field of PLAIN has 255 octets).
pub const MAX_PASSWORD: usize = 255;
/// Marks a secret that is not hashed.
pub(super) const PLAIN: &[u8] = b"{PLAIN}";

/// Why a login by a field is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It holds no password: it is empty, or locked by `*`, `!` or `x`.
    None,
    /// It begins like none of the schemes.
    Unknown,
    /// It has the beginning of a scheme, but not its form.
    Malformed,
    /// Its parameters ask for more memory or time than this crate spends on a login.
    TooDear,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::None => "no password",
            Unusable::Unknown => {
                "the password is no $6$, $5$, $y$ or $argon2id$ hash, no {SCRAM-SHA-256} and no {PLAIN}"
            }
            Unusable::Malformed => "the password's hash is malformed",
            Unusable::TooDear => "the parameters of the password's hash are out of bounds",
        })
    }
}

/// A NUL ends a password of crypt(3), and at the end of a key HMAC does not see it (RFC 2104 §2).
pub(super) fn can_be_password(given: &[u8]) -> bool {
    !given.is_empty() && given.len() <= MAX_PASSWORD && !given.contains(&0)
}
