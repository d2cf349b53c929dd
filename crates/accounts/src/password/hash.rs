//! New password fields, for `--hash --scheme`.

use argon2::{Algorithm, Argon2, PasswordHasher, Version};
use sha_crypt::{CustomizedPasswordHasher, ShaCrypt};
use yescrypt::Yescrypt;

use super::cost::Scheme;
use super::form::{MAX_PASSWORD, PLAIN};
use super::scram::Keys;
use crate::error::{Error, Result};
use crate::secret::{Secret, random};

/// Rounds of SHA-512 in new hashes: ten times crypt(5)'s default.
const SHA_ROUNDS: u32 = 50_000;
/// Iterations of SCRAM in new fields: rounds that take a machine 0.1 s by the rule of thumb of RFC 7677 §4.
/// The client computes them too.
const SCRAM_ROUNDS: u32 = 15_000;
/// Memory of Argon2id in new hashes, in KiB, and its passes: 19 MiB for each login that is checked.
const ARGON2_KIB: u32 = 19 * 1024;
const ARGON2_PASSES_OVER_KIB: u32 = 2;
/// Random salt in bytes, and that of SHA-crypt: 16 characters.
const SALT_BYTES: usize = 16;
const SHA_SALT_BYTES: usize = 12;

/// Makes a field of a password; `$5$` is read but not written.
///
/// yescrypt's parameters are crypt(5)'s own defaults (`j9T`, 16 MiB).
///
/// # Errors
/// [`Error::Refused`] for an empty password, one over [`MAX_PASSWORD`], one that a line of the users
/// file cannot hold as it is (`plain`: with a colon or a control character), and for `$5$`;
/// [`Error::Io`] when the system has no random numbers.
pub fn hash(scheme: Scheme, password: &[u8]) -> Result<Secret> {
    let salt = random::<SALT_BYTES>()?;
    if password.is_empty() {
        return refused("an empty password is never right");
    }
    if password.len() > MAX_PASSWORD {
        return refused("the password is too long: it has more than 255 bytes");
    }
    if password.contains(&0) {
        return refused("a password has no NUL");
    }
    let field = match scheme {
        Scheme::Plain => return plain(password),
        Scheme::Scram => Some(Keys::derive(password, &salt, SCRAM_ROUNDS).to_field()),
        Scheme::Sha512 => sha512(password, salt.get(..SHA_SALT_BYTES).unwrap_or(&salt)),
        Scheme::Yescrypt => Yescrypt::default()
            .hash_password_customized(password, &salt, None, None, yescrypt::Params::default())
            .ok()
            .map(|hash| hash.as_str().to_owned()),
        Scheme::Argon2id => argon2id(password, &salt),
        Scheme::Sha256 => None,
    };
    match field {
        Some(field) => Ok(Secret::from(field)),
        None => refused("no hash of this scheme is made"),
    }
}

fn refused<T>(why: &str) -> Result<T> {
    Err(Error::Refused(why.to_owned()))
}

fn plain(password: &[u8]) -> Result<Secret> {
    if password.iter().any(|byte| byte.is_ascii_control() || *byte == b':') {
        return refused("a {PLAIN} secret has no colon and no control character");
    }
    Ok(Secret::concat(&[PLAIN, password]))
}

fn sha512(password: &[u8], salt: &[u8]) -> Option<String> {
    let params = sha_crypt::Params::new(SHA_ROUNDS).ok()?;
    let hash = ShaCrypt::SHA512.hash_password_customized(password, salt, None, None, params);
    Some(hash.ok()?.as_str().to_owned())
}

fn argon2id(password: &[u8], salt: &[u8]) -> Option<String> {
    let params = argon2::Params::new(ARGON2_KIB, ARGON2_PASSES_OVER_KIB, 1, None).ok()?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Some(hasher.hash_password_with_salt(password, salt).ok()?.to_string())
}
