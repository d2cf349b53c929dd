//! Checks a name and a password, or a shared secret.

use std::ops::ControlFlow;

use super::password::{self, Scheme};
use super::users::{User, Users};
use crate::error::Result;

/// The result of a login.
#[derive(Debug)]
pub enum Login {
    /// The password is right.
    Accepted(User),
    /// The password is wrong or there is no such user. The reply must not reveal which.
    Refused,
}

/// Looks up `name` and checks `given` against the user's password.
///
/// A failure takes the same time for every name. The file is always read to its end. For an unknown
/// user, a locked one, or one whose field is cheap to check, the password is checked against the
/// most expensive field of another user. (Fields of one scheme count as equally expensive, so a
/// file with several `rounds=` still differs in time.)
///
/// # Errors
/// As [`Users::scan`].
pub fn log_in(users: &Users, name: &[u8], given: &[u8]) -> Result<Login> {
    let mut known: Option<User> = None;
    let mut dearest: Option<(Scheme, Vec<u8>)> = None;
    users.entries(|entry| {
        let scheme = Scheme::from_field(entry.password);
        if let Some(scheme) = scheme.filter(|s| dearest.as_ref().is_none_or(|(d, _)| s > d)) {
            dearest = Some((scheme, entry.password.to_vec()));
        }
        if known.is_none() && entry.name == name {
            known = Some(entry.to_user());
        }
        ControlFlow::Continue(())
    })?;
    if let Some(user) = known.as_ref().filter(|user| password::is_unsupported(&user.password)) {
        log::warn!(
            "users: the password of '{}' is not a $6$, $5$ or $argon2id$ hash or a {{PLAIN}} secret",
            user.name.escape_ascii()
        );
    }
    let known = known.and_then(|user| Some((Scheme::from_field(&user.password)?, user)));
    let own = known.as_ref().map(|(scheme, _)| *scheme);
    if let Some((_, user)) = known
        && password::verify(&user.password, given)
    {
        return Ok(Login::Accepted(user));
    }
    if let Some((_, field)) = dearest.filter(|(scheme, _)| own.is_none_or(|own| own < *scheme)) {
        // The result is dropped; only the time matters.
        std::hint::black_box(password::verify(&field, given));
    }
    Ok(Login::Refused)
}

/// Looks up `name` and calls `check` with the user's secret, for APOP (RFC 1939 §7). Only users
/// whose field is `{PLAIN}secret` can log in this way. An unknown user takes the same time as a
/// known one.
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
    let right = check(secret.unwrap_or(b"no such user"));
    match known.filter(|user| right && password::secret(&user.password).is_some()) {
        Some(user) => Ok(Login::Accepted(user)),
        None => Ok(Login::Refused),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use nix::time::{ClockId, clock_gettime};
    use testkit::TempDir;

    #[test]
    fn only_the_right_password_of_a_known_user_logs_in() {
        let folder = TempDir::new();
        let path: PathBuf = folder.path().join("users");
        fs::write(&path, "a:{PLAIN}one\nb:*\na:{PLAIN}two\nc:{PLAIN}one\n").unwrap();
        let users = Users::open(&path).unwrap();
        let accepted = |name: &[u8], given: &[u8]| match log_in(&users, name, given).unwrap() {
            Login::Accepted(user) => user.name == name,
            Login::Refused => false,
        };
        assert!(accepted(b"a", b"one"));
        assert!(!accepted(b"a", b"two"), "the first line of a name counts");
        assert!(!accepted(b"b", b"*"));
        assert!(!accepted(b"b", b"one"), "another user's password");
        assert!(!accepted(b"unknown", b"one"));
        assert!(!accepted(b"", b"one"));
    }

    #[test]
    fn a_failure_takes_the_time_of_the_most_expensive_field_for_every_name() {
        let folder = TempDir::new();
        let path: PathBuf = folder.path().join("users");
        // `tanstaaf`, as `openssl passwd -6` writes it.
        let dear = "$6$saltsalt$JfDkfKepJJ8OUWRByLbPk38gXHsXisVEzfbhJNOdQONUSHJpsMS04wE7S46k63uzhSh1G0j2QJ1gqfWqZChQE.";
        fs::write(&path, format!("plain:{{PLAIN}}one\ndear:{dear}\nlocked:*\n")).unwrap();
        let users = Users::open(&path).unwrap();
        // This thread's time on a processor: work, whatever else the machine does.
        let spent = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let work = |name: &[u8]| {
            let before = spent();
            assert!(matches!(log_in(&users, name, b"wrong").unwrap(), Login::Refused));
            spent() - before
        };
        for name in [&b"plain"[..], b"locked", b"unknown"] {
            assert!(work(name) * 4 > work(b"dear"), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn only_a_plain_secret_is_valid_for_apop() {
        let folder = TempDir::new();
        let path: PathBuf = folder.path().join("users");
        fs::write(&path, "a:{PLAIN}one\nb:one\nc:{PLAIN}\n").unwrap();
        let users = Users::open(&path).unwrap();
        let accepted = |name: &[u8], secret: &[u8]| {
            let login = log_in_by_secret(&users, name, |known| known == secret);
            matches!(login.unwrap(), Login::Accepted(user) if user.name == name)
        };
        assert!(accepted(b"a", b"one"));
        assert!(!accepted(b"a", b"two"));
        assert!(!accepted(b"b", b"one"));
        assert!(!accepted(b"c", b""));
        assert!(!accepted(b"b", b"no such user"));
        assert!(!accepted(b"unknown", b"no such user"));
    }
}
