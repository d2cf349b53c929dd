//! The password field of an account.
//!
//! | field | scheme |
//! | --- | --- |
//! | `$5$…`, `$6$…` | SHA-256 and SHA-512 crypt, as crypt(5) has them, with or without `rounds=` |
//! | `$y$…` | yescrypt, crypt(5), in its usual flavour `j` |
//! | `$argon2id$…` | Argon2id |
//! | `{SCRAM-SHA-256}count,salt,stored,server` | the keys of SCRAM (RFC 5802 §3), in Dovecot's form |
//! | `SCRAM-SHA-256$count:salt$stored:server` | the same, in the form of RFC 5803 §2 |
//! | `{PLAIN}secret` | the secret itself, without a colon: for labs, APOP and CRAM-MD5 |
//!
//! With any other field (`*`, `!`, `x`, an empty one) login is not possible. An empty password is
//! never right.

mod cost;
mod hash;
mod scram;

pub use cost::{Cost, Dearest, Scheme};
pub use hash::hash;
pub use scram::{
    Keys, MAX_ROUNDS, ROUNDS_ON_THE_FLY, client_key, hmac, number, salted_password, sha256, xor,
};

use std::fmt;

use argon2::{Argon2, PasswordHash};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use yescrypt::Yescrypt;

use crate::mechanism::{Mechanism, Mechanisms};
use crate::secret::{Secret, constant_time_eq};

/// Longest password in bytes (RFC 4616 §2: a field of PLAIN has 255 octets).
pub const MAX_PASSWORD: usize = 255;
/// Marks a secret that is not hashed.
const PLAIN: &[u8] = b"{PLAIN}";

/// Why nobody can log in by a field.
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

/// A password field whose form and parameters were checked.
#[derive(Clone, Debug)]
pub struct Password {
    field: Secret,
    cost: Cost,
}

impl Password {
    /// Reads a field.
    ///
    /// # Errors
    /// Why nobody can log in by it.
    pub fn parse(field: &[u8]) -> Result<Password, Unusable> {
        Ok(Password { cost: Password::cost_of(field)?, field: Secret::from(field) })
    }

    /// Returns what a check against a field costs, without a copy of the field.
    ///
    /// # Errors
    /// As [`Password::parse`].
    pub fn cost_of(field: &[u8]) -> Result<Cost, Unusable> {
        if let Some(secret) = field.strip_prefix(PLAIN) {
            return if secret.is_empty() { Err(Unusable::None) } else { Ok(Cost::Plain) };
        }
        if scram::is_field(field) {
            return Keys::parse(field).map(|keys| Cost::Scram { iterations: keys.iterations });
        }
        if field.is_empty() || field == b"x" || field.starts_with(b"*") || field.starts_with(b"!") {
            return Err(Unusable::None);
        }
        match std::str::from_utf8(field) {
            Ok(text) => Cost::of_crypt(text),
            Err(_) => Err(Unusable::Unknown),
        }
    }

    /// Returns what a check costs.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether `given` is the password. Takes the time of [`Password::cost`], whatever is given; what
    /// can be no password is wrong at once: nothing, more than [`MAX_PASSWORD`], a NUL in it.
    #[must_use]
    pub fn verify(&self, given: &[u8]) -> bool {
        if !can_be_password(given) {
            return false;
        }
        let field = self.field.as_bytes();
        match (self.cost, std::str::from_utf8(field)) {
            (Cost::Plain, _) => self.secret().is_some_and(|secret| constant_time_eq(secret, given)),
            (Cost::Scram { .. }, _) => Keys::parse(field).is_ok_and(|keys| keys.verify(given)),
            (Cost::ShaCrypt { .. }, Ok(text)) => {
                ShaCrypt::SHA512.verify_password(given, text).is_ok()
            }
            (Cost::Yescrypt { .. }, Ok(text)) => {
                Yescrypt::default().verify_password(given, text).is_ok()
            }
            (Cost::Argon2id { .. }, Ok(text)) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(given, &hash).is_ok()),
            (_, Err(_)) => false,
        }
    }

    /// Returns the secret of a `{PLAIN}` field, which APOP (RFC 1939 §7) and CRAM-MD5 need.
    #[must_use]
    pub fn secret(&self) -> Option<&[u8]> {
        self.field.as_bytes().strip_prefix(PLAIN)
    }

    /// Returns the keys of a `{SCRAM-SHA-256}` field.
    #[must_use]
    pub fn scram(&self) -> Option<Keys> {
        let is_scram = matches!(self.cost, Cost::Scram { .. });
        is_scram.then(|| Keys::parse(self.field.as_bytes()).ok()).flatten()
    }

    /// Returns the mechanisms that can be used with a field of this cost.
    #[must_use]
    pub fn mechanisms(cost: Cost) -> Mechanisms {
        let all = Mechanisms::all();
        match cost {
            Cost::Plain => all,
            Cost::Scram { .. } => all.without(Mechanism::CramMd5),
            _ => Mechanisms::by_password(),
        }
    }
}

/// A NUL ends a password of crypt(3), and at the end of a key HMAC does not see it (RFC 2104 §2).
fn can_be_password(given: &[u8]) -> bool {
    !given.is_empty() && given.len() <= MAX_PASSWORD && !given.contains(&0)
}

#[cfg(test)]
mod tests;
