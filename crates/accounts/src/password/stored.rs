//! A field, and the check of a password against it.

use argon2::{Argon2, PasswordHash};
use sha_crypt::{PasswordHashRef, PasswordVerifier, ShaCrypt};
use yescrypt::Yescrypt;

use super::cost::Cost;
use super::form::{PLAIN, Unusable, can_be_password};
use super::scram::{self, Keys};
use crate::mechanism::{Mechanism, Mechanisms};
use crate::secret::{Secret, constant_time_eq};

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
    /// Why a login by it is not possible.
    pub fn parse(field: &[u8]) -> Result<Password, Unusable> {
        let cost = Password::cost_of(field)?;
        let text = || std::str::from_utf8(field).unwrap_or_default();
        let is_whole = match cost {
            Cost::Plain => true,
            Cost::Scram { .. } => Keys::parse(field).is_ok(),
            Cost::Argon2id { .. } => PasswordHash::new(text()).is_ok(),
            Cost::ShaCrypt { .. } | Cost::Yescrypt { .. } => PasswordHashRef::new(text()).is_ok(),
        };
        let password = Password { field: Secret::from(field), cost };
        if is_whole { Ok(password) } else { Err(Unusable::Malformed) }
    }

    /// Returns what a check against a field costs, without a copy of the field: all accounts' fields
    /// are looked at for each login. Salt and hash are not looked at.
    ///
    /// # Errors
    /// Why a login by it is not possible, but for a salt or hash that is malformed.
    pub fn cost_of(field: &[u8]) -> Result<Cost, Unusable> {
        if let Some(secret) = field.strip_prefix(PLAIN) {
            return if secret.is_empty() { Err(Unusable::None) } else { Ok(Cost::Plain) };
        }
        if scram::is_field(field) {
            return Keys::iterations_of(field).map(|iterations| Cost::Scram { iterations });
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
    /// can be no password is wrong at once: nothing, more than [`super::MAX_PASSWORD`], a NUL in it.
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
