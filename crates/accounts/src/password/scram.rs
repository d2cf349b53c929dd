//! The keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677), and the two forms in which they are stored.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::form::Unusable;
use crate::encoding::{base64, from_base64};
use crate::prepared::prepared;
use crate::secret::constant_time_eq;

/// Length of a key and of a hash in bytes.
const KEY: usize = 32;
/// Block of SHA-256 in bytes.
const BLOCK: usize = 64;
/// Fewest iterations, each a round of PBKDF2 (RFC 7677 §3); and as many where the keys are made of a
/// `{PLAIN}` secret at the login.
pub const MIN_ROUNDS: u32 = 4096;
/// Most iterations: about a second. Each is a round of PBKDF2.
pub const MAX_ROUNDS: u32 = 1_000_000;
/// Longest salt in bytes.
const MAX_SALT: usize = 64;
/// Begins the field in Dovecot's form, and in that of RFC 5803 §2.
const DOVECOT: &[u8] = b"{SCRAM-SHA-256}";
const RFC_5803: &[u8] = b"SCRAM-SHA-256$";

/// Whether a field is one of the two forms.
pub(super) fn is_field(field: &[u8]) -> bool {
    field.starts_with(DOVECOT) || field.starts_with(RFC_5803)
}

/// What a server stores of a password. It is not enough to log in, but it is enough to play the server
/// and to try passwords against.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The iteration count `i`.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `StoredKey`: the hash of the key by which the client proves itself.
    pub stored: [u8; KEY],
    /// `ServerKey`, by which the server does.
    pub server: [u8; KEY],
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stored.zeroize();
        self.server.zeroize();
    }
}

impl std::fmt::Debug for Keys {
    /// Omits the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} iterations)", self.iterations)
    }
}

impl Keys {
    /// Computes the keys of a password, which is prepared by SASLprep before. Costs `iterations`.
    #[must_use]
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
        let salted = salted_password(password, salt, iterations);
        let stored = sha256(&*client_key(&salted));
        let server = hmac(&salted, b"Server Key");
        Keys { iterations, salt: salt.to_vec(), stored, server }
    }

    /// Returns the iterations of a field of either form, without a look at its keys.
    ///
    /// # Errors
    /// There are none, or too many or too few.
    pub(super) fn iterations_of(field: &[u8]) -> Result<u32, Unusable> {
        let rest = field.strip_prefix(DOVECOT).or(field.strip_prefix(RFC_5803));
        let digits = rest.and_then(|rest| rest.split(|byte| b",:".contains(byte)).next());
        let iterations = digits.and_then(number).ok_or(Unusable::Malformed)?;
        let is_bounded = (MIN_ROUNDS..=MAX_ROUNDS).contains(&iterations);
        if is_bounded { Ok(iterations) } else { Err(Unusable::TooDear) }
    }

    /// Reads a field of either form.
    ///
    /// # Errors
    /// It is malformed, or its iterations are out of bounds.
    pub fn parse(field: &[u8]) -> Result<Keys, Unusable> {
        let malformed = Unusable::Malformed;
        let (rest, marks) = match field.strip_prefix(DOVECOT) {
            Some(rest) => (rest, b",,,"),
            None => (field.strip_prefix(RFC_5803).ok_or(malformed)?, b":$:"),
        };
        let mut rest = rest;
        let mut before = |mark: u8| {
            let end = rest.iter().position(|&byte| byte == mark)?;
            let (part, tail) = rest.split_at_checked(end)?;
            rest = tail.get(1..)?;
            Some(part)
        };
        let [first, second, third] = *marks;
        let iterations = Keys::iterations_of(field)?;
        before(first).ok_or(malformed)?;
        let salt = before(second).and_then(from_base64).ok_or(malformed)?;
        let stored = before(third).and_then(key).ok_or(malformed)?;
        let server = key(rest).ok_or(malformed)?;
        if salt.is_empty() || salt.as_bytes().len() > MAX_SALT {
            return Err(malformed);
        }
        Ok(Keys { iterations, salt: salt.as_bytes().to_vec(), stored, server })
    }

    /// Returns the field, in Dovecot's form: RFC 5803's has colons, which end a field of passwd(5).
    #[must_use]
    pub fn to_field(&self) -> String {
        let parts = [&self.salt[..], &self.stored, &self.server].map(base64);
        format!("{{SCRAM-SHA-256}}{},{}", self.iterations, parts.join(","))
    }

    /// Whether these are the keys of this password. Costs the iterations.
    #[must_use]
    pub fn verify(&self, given: &[u8]) -> bool {
        let keys = Keys::derive(given, &self.salt, self.iterations);
        constant_time_eq(&self.stored, &keys.stored)
    }

    /// Checks a client's proof over the messages of an exchange (RFC 5802 §3). Returns the server's
    /// own signature where it is right.
    #[must_use]
    pub fn check(&self, auth_message: &[u8], proof: &[u8; KEY]) -> Option<[u8; KEY]> {
        let client = xor(proof, &hmac(&self.stored, auth_message));
        let is_right = constant_time_eq(&self.stored, &sha256(&client));
        is_right.then(|| hmac(&self.server, auth_message))
    }
}

/// `SaltedPassword := Hi(Normalize(password), salt, i)`
#[must_use]
pub fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; KEY]> {
    let mut salted = Zeroizing::new([0; KEY]);
    let password = prepared(password);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut *salted);
    salted
}

/// `ClientKey := HMAC(SaltedPassword, "Client Key")`
#[must_use]
pub fn client_key(salted: &[u8; KEY]) -> Zeroizing<[u8; KEY]> {
    Zeroizing::new(hmac(salted, b"Client Key"))
}

/// HMAC-SHA-256 (RFC 2104 §2: a key shorter than a block is padded with zeros).
#[must_use]
pub fn hmac(key: &[u8; KEY], message: &[u8]) -> [u8; KEY] {
    let mut block = [0; BLOCK];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mac = Hmac::<Sha256>::new(&block.into());
    mac.chain_update(message).finalize().into_bytes().into()
}

/// SHA-256.
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; KEY] {
    Sha256::digest(message).into()
}

/// Combines two keys.
#[must_use]
pub fn xor(a: &[u8; KEY], b: &[u8; KEY]) -> [u8; KEY] {
    let mut both = *a;
    both.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    both
}

/// A decimal number without sign or leading zero (RFC 5802 §7: `posit-number`).
pub fn number(digits: &[u8]) -> Option<u32> {
    let is_number = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0");
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn key(text: &[u8]) -> Option<[u8; KEY]> {
    from_base64(text)?.as_bytes().try_into().ok()
}
