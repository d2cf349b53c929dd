//! The keeper's answers: an [`Authority`] that knows the accounts.

use std::borrow::Borrow;

use crate::account::Account;
use crate::accounts::{Accounts, Found, Login, Refusal};
use crate::challenge::{MD5, apop_digest, cram_md5_digest};
use crate::error::{Error, Result};
use crate::password::{Cost, Keys, MIN_ROUNDS, Password, Scheme, hmac};
use crate::sasl::{Authority, Denial, auth_message, server_first};
use crate::secret::{Secret, constant_time_eq, random};

/// Random part of a nonce in bytes; in hexadecimal digits it is twice as long.
const NONCE: usize = 16;
/// The id of this machine (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";
/// Its length in hexadecimal characters.
const MACHINE_ID_LENGTH: usize = 32;
/// The bytes that the id is hashed with.
const DECOY: &[u8; 32] = b"forklore: salts of unknown users";
/// Salt of users without one, in bytes: what `--hash --scheme scram` writes.
const SALT: usize = 16;

/// Makes up SCRAM's salts for unknown users and for those without a stored one. A name has the same
/// salt each time, so that it looks like a stored one.
#[derive(Clone, Debug)]
pub struct Decoy(Secret);

impl Decoy {
    /// Makes one; for the start of the server. It is the same after each start on a machine that has an id
    /// of its own (machine-id(5)), which is hashed, so that the salts do not show it.
    ///
    /// # Errors
    /// [`Error::Io`] when the system has no random numbers.
    pub fn new() -> Result<Decoy> {
        let id = std::fs::read(MACHINE_ID).unwrap_or_default();
        match Decoy::of_machine(&id) {
            Some(decoy) => Ok(decoy),
            None => Ok(Decoy(Secret::from(&random::<32>()?[..]))),
        }
    }

    fn of_machine(id: &[u8]) -> Option<Decoy> {
        let digits = id.get(..MACHINE_ID_LENGTH)?;
        let is_id = digits.iter().all(u8::is_ascii_hexdigit);
        is_id.then(|| Decoy(Secret::from(&hmac(DECOY, digits)[..])))
    }

    fn salt(&self, name: &[u8]) -> Vec<u8> {
        let key = self.0.as_bytes().try_into().unwrap_or([0; 32]);
        let mut salt = hmac(&key, name).to_vec();
        salt.truncate(SALT);
        salt
    }
}

/// Checks one login. Of its answers only the account leaves the keeper's process.
#[derive(Debug)]
pub struct Checker<A> {
    accounts: A,
    decoy: Decoy,
    scram: Option<Scram>,
    result: Option<Result<Login>>,
}

/// SCRAM between its two questions.
struct Scram {
    found: Found,
    server_first: Vec<u8>,
    salt: Vec<u8>,
    iterations: u32,
}

impl std::fmt::Debug for Scram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scram")
    }
}

impl<A: Borrow<Accounts>> Checker<A> {
    /// Begins; `accounts` are owned or borrowed.
    #[must_use]
    pub fn new(accounts: A, decoy: &Decoy) -> Checker<A> {
        Checker { accounts, decoy: decoy.clone(), scram: None, result: None }
    }

    /// Whether this is the digest over the timestamp and the user's secret (RFC 1939 §7).
    ///
    /// # Errors
    /// As [`Authority::password`].
    pub fn apop(
        &mut self,
        name: &[u8],
        timestamp: &[u8],
        digest: &[u8; MD5],
    ) -> std::result::Result<(), Denial> {
        self.by_secret(name, |secret| constant_time_eq(&apop_digest(timestamp, secret), digest))
    }

    /// Returns the result of the check: the account, why it was refused, or why it could not be done.
    /// A login that was not checked to its end is refused.
    ///
    /// # Errors
    /// [`Error::Io`] when the accounts cannot be read.
    pub fn into_result(self) -> Result<Login> {
        self.result.unwrap_or(Ok(Login::Refused(Refusal::Wrong)))
    }

    /// Returns the account of a login that was accepted.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match &self.result {
            Some(Ok(Login::Accepted(account))) => Some(account),
            _ => None,
        }
    }

    fn note(&mut self, result: Result<Login>) -> std::result::Result<(), Denial> {
        let denial = match result {
            Ok(Login::Accepted(_)) => None,
            Ok(Login::Refused(_)) => Some(Denial::Rejected),
            Err(_) => Some(Denial::Unavailable),
        };
        self.result = Some(result);
        denial.map_or(Ok(()), Err)
    }

    /// Checks a digest over the user's secret; for a user without one a digest is computed as well.
    fn by_secret(
        &mut self,
        name: &[u8],
        check: impl Fn(&[u8]) -> bool,
    ) -> std::result::Result<(), Denial> {
        let result = self.accounts.borrow().find(name).map(|found| {
            let secret = found.password.as_ref().ok().and_then(Password::secret);
            let is_right = check(secret.unwrap_or(b"no secret")) && secret.is_some();
            let has_other = found.password.is_ok() && secret.is_none();
            if has_other { Login::Refused(Refusal::Mechanism) } else { found.login(is_right) }
        });
        self.note(result)
    }
}

impl<A: Borrow<Accounts>> Authority for Checker<A> {
    fn password(&mut self, name: &[u8], password: &Secret) -> std::result::Result<(), Denial> {
        let result = self.accounts.borrow().log_in(name, password);
        self.note(result)
    }

    fn cram_md5(
        &mut self,
        name: &[u8],
        challenge: &[u8],
        digest: &[u8; MD5],
    ) -> std::result::Result<(), Denial> {
        self.by_secret(name, |secret| constant_time_eq(&cram_md5_digest(challenge, secret), digest))
    }

    /// For a user without stored keys the salt is made up, and the iterations are those of the dearest
    /// stored keys.
    fn scram_first(
        &mut self,
        name: &[u8],
        client_nonce: &[u8],
    ) -> std::result::Result<Vec<u8>, Denial> {
        let prepare = || {
            let found = self.accounts.borrow().find(name)?;
            let keys = found.password.as_ref().ok().and_then(Password::scram);
            let (salt, iterations) = match keys {
                Some(keys) => (keys.salt.clone(), keys.iterations),
                None => (self.decoy.salt(&found.name), usual_iterations(&found)),
            };
            let nonce = crate::encoding::hex(&random::<NONCE>()?);
            let server_first = server_first([client_nonce, nonce.as_bytes()], &salt, iterations);
            Ok(Scram { found, server_first, salt, iterations })
        };
        match prepare() {
            Ok(scram) => Ok(self.scram.insert(scram).server_first.clone()),
            Err(error) => {
                self.result = Some(Err(error));
                Err(Denial::Unavailable)
            }
        }
    }

    fn scram_final(
        &mut self,
        client_first_bare: &[u8],
        client_final_without_proof: &[u8],
        proof: &[u8; 32],
    ) -> std::result::Result<[u8; 32], Denial> {
        let Some(scram) = self.scram.take() else {
            self.result = Some(Err(Error::Refused("SCRAM: the first message is missing".into())));
            return Err(Denial::Unavailable);
        };
        let message =
            auth_message(client_first_bare, &scram.server_first, client_final_without_proof);
        let keys = scram.keys();
        let signature = keys.as_ref().and_then(|keys| keys.check(&message, proof));
        let has_other = scram.found.password.is_ok() && keys.is_none();
        let login = match has_other {
            true => Login::Refused(Refusal::Mechanism),
            false => scram.found.login(signature.is_some()),
        };
        self.note(Ok(login))?;
        signature.ok_or(Denial::Rejected)
    }
}

impl Scram {
    /// Returns the user's keys, stored or made of the secret. Where some user's are made of a secret,
    /// every login takes as long as that.
    fn keys(&self) -> Option<Keys> {
        let password = self.found.password.as_ref().ok();
        if let Some(secret) = password.and_then(Password::secret) {
            return Some(Keys::derive(secret, &self.salt, self.iterations));
        }
        if self.found.dearest.of(Scheme::Plain).is_some() {
            Cost::Scram { iterations: self.iterations }.spend(b"no secret");
        }
        password.and_then(Password::scram)
    }
}

fn usual_iterations(found: &Found) -> u32 {
    match found.dearest.of(Scheme::Scram) {
        Some(Cost::Scram { iterations }) => iterations,
        _ => MIN_ROUNDS,
    }
}

#[cfg(test)]
mod tests;
