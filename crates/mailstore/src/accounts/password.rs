//! The password field of the users file.
//!
//! | field | scheme |
//! | --- | --- |
//! | `$6$...`, `$5$...` | SHA-512 and SHA-256 crypt, as crypt(3) has them, with or without `rounds=` |
//! | `$argon2id$...` | Argon2id |
//! | `{PLAIN}secret` | the secret itself, for labs and for APOP (RFC 1939 §7) |
//!
//! With any other field (`*`, `!`, `x`, an empty one) login is not possible. An empty password is
//! never accepted.

use std::hint::black_box;
use std::io::{self, Read};

use argon2::{Argon2, PasswordHash};
use sha_crypt::{Algorithm, CustomizedPasswordHasher, Params, PasswordVerifier, ShaCrypt};

use crate::error::{Error, Result};

/// Rounds of SHA-512 in new hashes: ten times crypt(3)'s default.
const ROUNDS: u32 = 50_000;
/// Random salt in bytes; 16 characters as in crypt(3).
const SALT: usize = 12;
/// Prefix of a secret that is not hashed.
const PLAIN: &[u8] = b"{PLAIN}";

/// How a password is stored, in ascending order of cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Plain,
    Sha256,
    Sha512,
    Argon2id,
}

impl Scheme {
    /// Returns the scheme of a field; `None` for a field that allows no login.
    pub(crate) fn from_field(field: &[u8]) -> Option<Scheme> {
        match field {
            _ if field.starts_with(PLAIN) => secret(field).map(|_| Scheme::Plain),
            _ if field.starts_with(b"$5$") => Some(Scheme::Sha256),
            _ if field.starts_with(b"$6$") => Some(Scheme::Sha512),
            _ if field.starts_with(b"$argon2id$") => Some(Scheme::Argon2id),
            _ => None,
        }
    }
}

/// Returns whether a field holds a password in an unsupported form, such as a word without
/// `{PLAIN}` or a `$y$` hash of shadow(5). An empty or locked field (`*`, `!…`, `x`) holds none.
pub(crate) fn is_unsupported(field: &[u8]) -> bool {
    let locked = field == b"x" || field.starts_with(b"*") || field.starts_with(b"!");
    !field.is_empty() && !locked && field != PLAIN && Scheme::from_field(field).is_none()
}

/// Returns whether `given` is the password of this field.
#[must_use]
pub fn verify(field: &[u8], given: &[u8]) -> bool {
    if given.is_empty() {
        return false;
    }
    match Scheme::from_field(field) {
        Some(Scheme::Plain) => secret(field).is_some_and(|secret| constant_time_eq(secret, given)),
        Some(Scheme::Sha256 | Scheme::Sha512) => std::str::from_utf8(field)
            .is_ok_and(|hash| ShaCrypt::SHA512.verify_password(given, hash).is_ok()),
        Some(Scheme::Argon2id) => std::str::from_utf8(field)
            .ok()
            .and_then(|hash| PasswordHash::new(hash).ok())
            .is_some_and(|hash| Argon2::default().verify_password(given, &hash).is_ok()),
        None => false,
    }
}

/// Returns the secret of a `{PLAIN}` field. `None` if it is empty or the field is a hash. APOP (RFC
/// 1939 §7) and CRAM-MD5 need it.
#[must_use]
pub fn secret(field: &[u8]) -> Option<&[u8]> {
    field.strip_prefix(PLAIN).filter(|secret| !secret.is_empty())
}

/// Hashes a password for the users file: `$6$rounds=50000$salt$hash`.
///
/// Uses SHA-512 crypt, because every program that reads such files supports it, and because
/// Argon2id would take 19 MiB in each client's process.
///
/// # Errors
/// [`Error::Refused`] for an empty password, [`Error::Io`] if /dev/urandom cannot be read.
pub fn hash(password: &[u8]) -> Result<String> {
    if password.is_empty() {
        return Err(Error::Refused("an empty password allows no login".to_owned()));
    }
    let mut salt = [0; SALT];
    let urandom = std::path::Path::new("/dev/urandom");
    std::fs::File::open(urandom)
        .and_then(|mut file| file.read_exact(&mut salt))
        .map_err(Error::io("read", urandom))?;
    hash_with(password, &salt, ROUNDS)
}

fn hash_with(password: &[u8], salt: &[u8], rounds: u32) -> Result<String> {
    let failed = |why: String| Error::Io { what: "hash".to_owned(), source: io::Error::other(why) };
    let params = Params::new(rounds).map_err(|why| failed(why.to_string()))?;
    let crypt = ShaCrypt::new(Algorithm::Sha512Crypt, params);
    let hash = crypt.hash_password_customized(password, salt, None, None, params);
    Ok(hash.map_err(|why| failed(why.to_string()))?.as_str().to_owned())
}

/// Compares two secrets in a time that does not depend on where they differ.
#[must_use]
pub fn constant_time_eq(secret: &[u8], given: &[u8]) -> bool {
    let mut different = u8::from(secret.len() != given.len());
    let padding = std::iter::repeat(&0);
    for (a, b) in given.iter().zip(secret.iter().chain(padding)) {
        different |= black_box(a ^ b);
    }
    black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by crypt(3) and `openssl passwd`.
    const SHA512: &[u8] = b"$6$saltsalt$JfDkfKepJJ8OUWRByLbPk38gXHsXisVEzfbhJNOdQONUSHJpsMS04wE7S46k63uzhSh1G0j2QJ1gqfWqZChQE.";
    const SHA512_ROUNDS: &[u8] = b"$6$rounds=1400$saltstring$MPXpW6jVP1IGFBmoQBctu87Ag297vL5iNzcAyVp2tRwVgitY9P9hD10YPcM52GuLlJUZZAjj9l0Gq87CPX1N6.";
    const SHA256: &[u8] = b"$5$saltsalt$AHEKnDWlz30naxZICwx9iP.q/8kkh.5vY4KFHIo4Rn8";

    #[test]
    fn hashes_of_other_programs_verify() {
        for field in [SHA512, SHA512_ROUNDS, SHA256] {
            let text = field.escape_ascii();
            assert!(verify(field, b"tanstaaf"), "{text}");
            assert!(!verify(field, b"tanstaaF"), "{text}");
            assert!(!verify(field, b"tanstaaf "), "{text}");
            assert!(!verify(field, b""), "{text}");
        }
    }

    #[test]
    fn the_vector_of_the_argon2_reference_verifies() {
        let field =
            b"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(verify(field, b"password"));
        assert!(!verify(field, b"Password"));
    }

    #[test]
    fn a_plain_secret_may_hold_spaces_and_any_byte() {
        assert!(verify(b"{PLAIN} a b ", b" a b "));
        assert!(!verify(b"{PLAIN} a b ", b" a b"));
        assert!(!verify(b"{PLAIN}a", b"a\0"));
        assert!(verify(b"{PLAIN}\xff$6$", b"\xff$6$"));
    }

    #[test]
    fn a_field_without_a_password_allows_no_login() {
        let fields: [&[u8]; 12] = [
            b"",
            b"*",
            b"!",
            b"x",
            b"{PLAIN}",
            b"secret",
            b"$6$",
            b"$6$$",
            b"$6$a$",
            b"$argon2id$",
            b"$5$rounds=9$a$b",
            b"$6$\xff$a",
        ];
        for field in fields {
            for given in [&b""[..], b"x", b"*", b"secret", b"$6$"] {
                assert!(!verify(field, given), "{}", field.escape_ascii());
            }
        }
    }

    #[test]
    fn a_new_hash_verifies_and_is_salted() {
        let field = hash_with(b"two words ", b"0123456789ab", 1000).unwrap();
        assert!(field.starts_with("$6$rounds=1000$"), "{field}");
        assert!(verify(field.as_bytes(), b"two words "));
        let other = hash_with(b"two words ", b"ba9876543210", 1000).unwrap();
        assert_ne!(field, other);
        assert!(hash(b"").is_err());
        assert!(hash(b"x").unwrap().starts_with("$6$rounds="));
    }

    #[test]
    fn secrets_are_compared_to_their_end() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"abc", b"abc"));
        for other in [&b"abd"[..], b"ab", b"abc\0", b"", b"xbc"] {
            assert!(!constant_time_eq(b"abc", other));
            assert!(!constant_time_eq(other, b"abc"));
        }
    }
}
