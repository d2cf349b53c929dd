//! The proof of a login that the process that talks to a client shows later, when it asks for what only a
//! user may have: it cannot make one itself, because it does not know the key.

use accounts::password::hmac;
use accounts::{Secret, random};

/// Length of a key and of a token, in bytes.
pub(crate) const TOKEN: usize = 32;
/// What a token says, before the name.
const MEANING: &[u8] = b"logged in: ";

/// The key of a server, which only the keeper and the processes that it forks have.
#[derive(Clone, Debug)]
pub(crate) struct TokenKey(Secret);

impl TokenKey {
    pub(crate) fn new() -> accounts::Result<TokenKey> {
        Ok(TokenKey(Secret::from(&random::<TOKEN>()?[..])))
    }

    /// Returns the token of a user.
    pub(crate) fn token(&self, name: &[u8]) -> Option<[u8; TOKEN]> {
        let key = self.0.as_bytes().try_into().ok()?;
        Some(hmac(key, &[MEANING, name].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_users_and_one_servers() {
        let (ours, theirs) = (TokenKey::new().unwrap(), TokenKey::new().unwrap());
        let token = ours.token(b"levy").unwrap();
        assert_eq!(ours.token(b"levy"), Some(token));
        assert_ne!(ours.token(b"bob"), Some(token));
        assert_ne!(theirs.token(b"levy"), Some(token));
    }
}
