//! Whose rights the process of a mailbox has.

use accounts::{Account, Owner};
use forknet::become_user;
use nix::unistd::{getegid, geteuid};

use crate::credentials::Denied;
use crate::options::MailOptions;

/// Why a mailbox cannot be used.
#[derive(Debug)]
pub struct Trouble {
    /// The answer to the process that asked.
    pub denied: Denied,
    /// There is no room on the disk.
    pub is_full: bool,
    /// The reason, for the log.
    pub why: String,
}

impl Trouble {
    /// Returns a trouble that may pass.
    #[must_use]
    pub fn temporary(why: impl std::fmt::Display) -> Trouble {
        Trouble { denied: Denied::Temporary, is_full: false, why: why.to_string() }
    }
}

impl From<mailstore::Error> for Trouble {
    fn from(error: mailstore::Error) -> Trouble {
        let is_full = error.is_full();
        let denied = match &error {
            mailstore::Error::InUse { .. } => Denied::InUse,
            error if error.is_temporary() => Denied::Temporary,
            _ => Denied::Permanent,
        };
        let why = match error {
            mailstore::Error::InUse { what } => format!("{what} is in use by another session"),
            error => error.to_string(),
        };
        Trouble { denied, is_full, why }
    }
}

impl MailOptions {
    /// Returns whose an account's mailbox is. Without root's rights there is one user only.
    ///
    /// # Errors
    /// The account has no user id, and there is no `--mail-user`.
    pub fn owner(&self, account: &Account) -> Result<Owner, Trouble> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if uid != 0 {
            return Ok(Owner { uid, gid });
        }
        account.owner.or(self.mail_user).filter(|owner| owner.uid != 0).ok_or_else(|| Trouble {
            denied: Denied::Permanent,
            is_full: false,
            why: "no user id in the users file, and no --mail-user".into(),
        })
    }

    /// Becomes the owner of an account's mailbox, for good.
    ///
    /// # Errors
    /// As [`MailOptions::owner`]; some right is left.
    pub fn become_owner(&self, account: &Account) -> Result<Owner, Trouble> {
        let owner = self.owner(account)?;
        become_user(owner.uid, owner.gid).map_err(Trouble::temporary)?;
        Ok(owner)
    }
}
