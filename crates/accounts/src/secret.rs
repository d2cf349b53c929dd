//! Bytes that are wiped when they are no longer needed, and how they are compared.

use std::fmt;
use std::hint::black_box;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// A password, a response that holds one, or a key. The memory is overwritten when the value is
/// dropped, and `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over without a copy; their buffer is the one that is wiped.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// Joins parts into one buffer, which never grows: growing would leave a copy behind.
    #[must_use]
    pub fn concat(parts: &[&[u8]]) -> Secret {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Secret::new(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Secret {
        Secret::new(bytes.to_vec())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::new(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        constant_time_eq(self.as_bytes(), other.as_bytes())
    }
}

impl Eq for Secret {}

/// Compares a secret with what a client gave, in a time that depends on the length of `given` alone.
#[must_use]
pub fn constant_time_eq(secret: &[u8], given: &[u8]) -> bool {
    let mut different = u8::from(secret.len() != given.len());
    let padding = std::iter::repeat(&0);
    for (a, b) in given.iter().zip(secret.iter().chain(padding)) {
        different |= black_box(a ^ b);
    }
    black_box(different) == 0
}

/// Returns random bytes of getrandom(2), which needs no file and works in an empty root.
///
/// # Errors
/// [`Error::Io`] when the system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let failed = |source| Error::Io { what: "getrandom".to_owned(), source };
    sys::getrandom::fill(&mut bytes).map_err(|errno| failed(errno.into()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::concat(&[b"tan", b"", b"staaf"]);
        assert_eq!(secret.as_bytes(), b"tanstaaf");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret Some(Secret)");
        assert_eq!(secret, Secret::from(&b"tanstaaf"[..]));
        assert_ne!(secret, Secret::default());
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"abc", b"abc"));
        for other in [&b"abd"[..], b"ab", b"abc\0", b"", b"xbc"] {
            assert!(!constant_time_eq(b"abc", other));
            assert!(!constant_time_eq(other, b"abc"));
        }
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
