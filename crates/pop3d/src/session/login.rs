//! Logins: checks credentials against the users file, and opens the maildrop with its owner's
//! rights.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mailstore::accounts::{self, Login, User, Users};
use mailstore::{AsOwner, Error, Maildrop};

use crate::options::Config;
use crate::protocol::apop;
use crate::protocol::credentials::{Credentials, LoginError, Secret};

/// Longest wait for the lock of a maildrop, because a session may just be about to release it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two attempts to lock a maildrop.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Returns the timestamp for the greeting. `None`, so that APOP is not offered, if no user has a
/// secret or /dev/urandom cannot be read, because a predictable timestamp is worse than no APOP. An
/// unreadable users file is reported at the login.
pub(super) fn apop_timestamp(users: &Path, host: &str) -> Option<String> {
    let users = Users::open(users).ok()?;
    if !users.has_secret().ok()? {
        return None;
    }
    unique_timestamp(host)
}

fn unique_timestamp(host: &str) -> Option<String> {
    let mut random = [0; apop::RANDOM];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).ok()?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Some(apop::timestamp(host, std::process::id(), clock, &random))
}

/// Checks credentials and opens the maildrop of their user. From then on the process has the
/// owner's rights.
pub(super) fn log_in(config: &Config, credentials: &Credentials) -> Result<Maildrop, LoginError> {
    let checked = Users::open(&config.users).and_then(|users| check(&users, credentials));
    match checked.map_err(LoginError::Users)? {
        Login::Refused => Err(LoginError::Rejected),
        Login::Accepted(user) => open_maildrop(config, &user).map_err(LoginError::Maildrop),
    }
}

fn check(
    users: &Users,
    Credentials { name, secret, .. }: &Credentials,
) -> mailstore::Result<Login> {
    match secret {
        Secret::Password(password) => accounts::log_in(users, name, password),
        Secret::Apop { timestamp, digest } => accounts::log_in_by_secret(users, name, |secret| {
            apop::verify(timestamp, secret, digest)
        }),
    }
}

fn open_maildrop(config: &Config, user: &User) -> mailstore::Result<Maildrop> {
    let path = config.mail.maildir(user)?;
    let owner = AsOwner::switch_to(&path)?;
    let maildrop = wait_for_lock(&path)?;
    owner.make_permanent(&path)?;
    Ok(maildrop)
}

/// Opens a maildrop, waiting up to [`LOCK_TIMEOUT`] for its lock.
fn wait_for_lock(path: &Path) -> mailstore::Result<Maildrop> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match Maildrop::open(path) {
            Err(Error::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::apop::timestamp_in;

    #[test]
    fn a_timestamp_is_unique_and_found_in_its_greeting() {
        let timestamp = |host| unique_timestamp(host);
        let (a, b) = (timestamp("h.test").unwrap(), timestamp("h.test").unwrap());
        assert_ne!(a, b);
        let greeting = format!("+OK ready {a} really");
        assert_eq!(timestamp_in(greeting.as_bytes()), Some(a.as_bytes()));
        for none in ["+OK ready", "+OK <a>", "+OK <a b@c>", "+OK <a@b", "+OK a@b>", "+OK ><a@"] {
            assert_eq!(timestamp_in(none.as_bytes()), None, "{none}");
        }
    }
}
