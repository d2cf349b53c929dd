//! Who may open a maildrop.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::password::{self, Scheme};
use crate::users::{User, Users};

/// How a login by password ended.
#[derive(Debug)]
pub enum Login {
    /// The password is right.
    Welcome(User),
    /// It is not, or there is no such user: whoever asks is not told which.
    Refused,
}

/// Looks up `name` and checks `given` against his password.
///
/// An unknown user, or one whose field lets nobody in, costs as much time as a known one: the file
/// is always read to its end, and the password is checked against the dearest field of another
/// user.
///
/// # Errors
/// As [`Users::scan`].
pub fn log_in(users: &Users, name: &[u8], given: &[u8]) -> Result<Login> {
    let mut known: Option<User> = None;
    let mut model: Option<(Scheme, Vec<u8>)> = None;
    users.entries(|entry| {
        let scheme = Scheme::of(entry.password);
        if let Some(scheme) = scheme.filter(|s| model.as_ref().is_none_or(|(m, _)| s > m)) {
            model = Some((scheme, entry.password.to_vec()));
        }
        if known.is_none() && entry.name == name {
            known = Some(entry.to_user());
        }
        ControlFlow::Continue(())
    })?;
    let usable = known.filter(|user| Scheme::of(&user.password).is_some());
    let Some(user) = usable else {
        let field = model.map(|(_, field)| field).unwrap_or_default();
        // The answer is thrown away, and is no by chance or not.
        std::hint::black_box(password::verify(&field, given));
        return Ok(Login::Refused);
    };
    if password::verify(&user.password, given) {
        Ok(Login::Welcome(user))
    } else {
        Ok(Login::Refused)
    }
}

/// Looks up `name` and lets `check` compare his secret, for APOP (RFC 1939 §7): only users whose
/// field is `{PLAIN}secret` can log in so. An unknown user costs as much as a known one.
///
/// # Errors
/// As [`Users::scan`].
pub fn log_in_by_secret(
    users: &Users,
    name: &[u8],
    check: impl Fn(&[u8]) -> bool,
) -> Result<Login> {
    let mut known: Option<User> = None;
    users.entries(|entry| {
        if known.is_none() && entry.name == name {
            known = Some(entry.to_user());
        }
        ControlFlow::Continue(())
    })?;
    let secret = known.as_ref().and_then(|user| password::secret(&user.password));
    let right = check(secret.unwrap_or(b"nobody's secret"));
    match known.filter(|user| right && password::secret(&user.password).is_some()) {
        Some(user) => Ok(Login::Welcome(user)),
        None => Ok(Login::Refused),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::maildir::tests::Folder;

    #[test]
    fn only_the_right_password_of_a_known_user_logs_in() {
        let folder = Folder::new();
        let path: PathBuf = folder.path().join("users");
        fs::write(&path, "a:{PLAIN}one\nb:*\na:{PLAIN}two\nc:{PLAIN}one\n").unwrap();
        let users = Users::open(&path).unwrap();
        let welcome = |name: &[u8], given: &[u8]| match log_in(&users, name, given).unwrap() {
            Login::Welcome(user) => user.name == name,
            Login::Refused => false,
        };
        assert!(welcome(b"a", b"one"));
        assert!(!welcome(b"a", b"two"), "the first line of a name counts");
        assert!(!welcome(b"b", b"*"));
        assert!(!welcome(b"b", b"one"), "another user's password is no key");
        assert!(!welcome(b"nobody", b"one"));
        assert!(!welcome(b"", b"one"));
    }

    #[test]
    fn only_a_plain_secret_serves_for_apop() {
        let folder = Folder::new();
        let path: PathBuf = folder.path().join("users");
        fs::write(&path, "a:{PLAIN}one\nb:one\nc:{PLAIN}\n").unwrap();
        let users = Users::open(&path).unwrap();
        let welcome = |name: &[u8], secret: &[u8]| {
            let login = log_in_by_secret(&users, name, |known| known == secret);
            matches!(login.unwrap(), Login::Welcome(user) if user.name == name)
        };
        assert!(welcome(b"a", b"one"));
        assert!(!welcome(b"a", b"two"));
        assert!(!welcome(b"b", b"one"));
        assert!(!welcome(b"c", b""));
        assert!(!welcome(b"b", b"nobody's secret"));
        assert!(!welcome(b"nobody", b"nobody's secret"));
    }
}
