//! The check of a login, in the process that answers, with the keeper's rights.

use accounts::password::Unusable;
use accounts::sasl::{Authority, Denial};
use accounts::{Account, Checker, Decoy, Login, Refusal, from_hex};
use log::warn;

use crate::credentials::{Credentials, Denied, Proof};
use crate::options::MailOptions;
use crate::question::LoginQuestion;

/// Why a login is not accepted.
#[derive(Debug)]
pub enum Refused {
    /// It is wrong.
    Login(Refusal),
    /// It could not be checked.
    NotChecked(String),
}

/// Checks a login against the accounts.
///
/// # Errors
/// It is wrong, or the accounts cannot be read.
pub fn check(options: &MailOptions, credentials: &Credentials) -> Result<Account, Refused> {
    let unreadable = |error: accounts::Error| Refused::NotChecked(error.to_string());
    let accounts = options.accounts().map_err(unreadable)?;
    let decoy = Decoy::new().map_err(unreadable)?; // for SCRAM, which is not offered
    let mut checker = Checker::new(&accounts, &decoy);
    let Credentials { name, proof, .. } = credentials;
    let proved: Result<(), Denial> = match proof {
        Proof::Password(password) => checker.password(name, password),
        Proof::Apop { timestamp, digest } => {
            let digest = from_hex(digest).ok_or(Refused::Login(Refusal::Wrong))?; // the same for every name
            checker.apop(name, timestamp.as_bytes(), &digest)
        }
    };
    match (proved, checker.into_result().map_err(unreadable)?) {
        (Ok(()), Login::Accepted(account)) => Ok(account),
        (_, Login::Refused(why)) => Err(Refused::Login(why)),
        (Err(_), Login::Accepted(_)) => Err(Refused::Login(Refusal::Wrong)),
    }
}

impl LoginQuestion {
    /// Checks the login, and logs what the administrator has to repair.
    ///
    /// # Errors
    /// [`Denied::Rejected`], [`Denied::NotChecked`].
    pub fn check(&self, options: &MailOptions) -> Result<Account, Denied> {
        let (peer, name) = (self.peer, self.credentials.name.escape_ascii());
        check(options, &self.credentials).map_err(|why| match why {
            Refused::Login(why) => {
                let is_to_repair = matches!(why, Refusal::Field(why) if why != Unusable::None);
                if is_to_repair || matches!(why, Refusal::Mechanism | Refusal::Closed(_)) {
                    warn!("{peer}: login of '{name}': {why}");
                }
                Denied::Rejected
            }
            Refused::NotChecked(why) => {
                warn!("{peer}: login of '{name}': {why}");
                Denied::NotChecked
            }
        })
    }
}
