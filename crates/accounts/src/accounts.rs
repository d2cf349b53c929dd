//! Looks accounts up, and checks passwords: the one place where a name meets a secret.

use std::fmt;
use std::ops::ControlFlow;

use crate::account::Account;
use crate::error::Result;
use crate::mechanism::Mechanisms;
use crate::names::Names;
use crate::password::{Dearest, Password, Scheme, Unusable};
use crate::secret::Secret;
use crate::system::{Closed, System, today};
use crate::users_file::UsersFile;

/// Where accounts come from: `--users`.
#[derive(Debug)]
pub enum Source {
    /// `--users FILE`.
    File(UsersFile),
    /// `--users system`.
    System(System),
}

/// All accounts of a server.
#[derive(Debug)]
pub struct Accounts {
    /// Where they come from.
    pub source: Source,
    /// How names are compared.
    pub names: Names,
}

/// Why a login is refused; for the log, the client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No account has this name.
    NoSuchUser,
    /// The password, the digest or the proof is wrong.
    Wrong,
    /// The account's field holds nothing to log in by.
    Field(Unusable),
    /// The account's field cannot be used by this mechanism, such as a hash for CRAM-MD5.
    Mechanism,
    /// The account is closed.
    Closed(Closed),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NoSuchUser => "no such user",
            Refusal::Wrong => "wrong password",
            Refusal::Field(why) => return why.fmt(f),
            Refusal::Mechanism => "the user's password is stored in a form for other mechanisms",
            Refusal::Closed(Closed::Root) => "user id 0",
            Refusal::Closed(Closed::Expired) => "the account has expired",
            Refusal::Closed(Closed::PasswordExpired) => "the password has expired",
        })
    }
}

/// The result of a login.
#[derive(Debug)]
pub enum Login {
    /// The proof is right.
    Accepted(Account),
    /// It is not, or there is no such user; the client is not told which.
    Refused(Refusal),
}

/// What is known of one name, and of all accounts.
pub(crate) struct Found {
    /// The name in its canonical form; empty for what is no name.
    pub(crate) name: Vec<u8>,
    /// The account, if a login by the right proof may succeed.
    account: std::result::Result<Account, Refusal>,
    /// The account's password, if it can be checked.
    pub(crate) password: std::result::Result<Password, Refusal>,
    /// The dearest fields of all accounts.
    pub(crate) dearest: Dearest,
}

impl Found {
    /// Ends a check: the account if the proof is right and the account is open.
    pub(crate) fn login(self, is_right: bool) -> Login {
        match (self.password, self.account) {
            (Err(refusal), _) => Login::Refused(refusal),
            (Ok(_), _) if !is_right => Login::Refused(Refusal::Wrong),
            (Ok(_), Err(refusal)) => Login::Refused(refusal),
            (Ok(_), Ok(account)) => Login::Accepted(account),
        }
    }
}

impl Accounts {
    /// Looks up a name. The files are read to their ends, whatever the name is, so that the time does
    /// not tell where its line is.
    pub(crate) fn find(&self, given: &[u8]) -> Result<Found> {
        let canonical = self.names.canonical(given).unwrap_or_default();
        match &self.source {
            Source::File(users) => self.find_in_file(users, canonical),
            Source::System(system) => self.find_in_system(system, canonical, today()),
        }
    }

    fn find_in_file(&self, users: &UsersFile, name: Vec<u8>) -> Result<Found> {
        let mut dearest = Dearest::default();
        let mut known: Option<(Account, std::result::Result<Password, Refusal>)> = None;
        users.entries(|entry| {
            if let Ok(cost) = Password::cost_of(entry.password) {
                dearest.note(cost);
            }
            // The first line of a name counts.
            let is_it = !name.is_empty() && self.names.is_same(entry.name, &name);
            if is_it && known.is_none() {
                let password = Password::parse(entry.password).map_err(Refusal::Field);
                known = Some((entry.to_account(&name), password));
            }
            ControlFlow::Continue(())
        })?;
        Ok(match known {
            Some((account, password)) => Found { name, account: Ok(account), password, dearest },
            None => Found {
                name,
                account: Err(Refusal::NoSuchUser),
                password: Err(Refusal::NoSuchUser),
                dearest,
            },
        })
    }

    fn find_in_system(&self, system: &System, name: Vec<u8>, today: i64) -> Result<Found> {
        let mut dearest = Dearest::default();
        let (mut account, mut password) = (Err(Refusal::NoSuchUser), Err(Refusal::NoSuchUser));
        if let Some(user) = system.find(self.names, &name, today, &mut dearest)? {
            password = Password::parse(user.password.as_bytes()).map_err(Refusal::Field);
            account = match user.closed {
                Some(closed) => Err(Refusal::Closed(closed)),
                None => user.account.ok_or(Refusal::NoSuchUser),
            };
        }
        Ok(Found { name, account, password, dearest })
    }

    /// Checks a name and a password.
    ///
    /// A failure takes the same work for every name: see [`Dearest`].
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the accounts cannot be read.
    pub fn log_in(&self, name: &[u8], given: &Secret) -> Result<Login> {
        let found = self.find(name)?;
        let is_right = check(&found, given.as_bytes());
        Ok(found.login(is_right))
    }

    /// Looks an account up without a login, for recipients of mail: locked and expired accounts
    /// receive mail too, root's does not.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the accounts cannot be read.
    pub fn account(&self, name: &[u8]) -> Result<Option<Account>> {
        let canonical = self.names.canonical(name).unwrap_or_default();
        match &self.source {
            Source::File(users) => Ok(self.find_in_file(users, canonical)?.account.ok()),
            Source::System(system) => {
                let user = system.find(self.names, &canonical, 0, &mut Dearest::default())?;
                Ok(user.and_then(|user| user.account))
            }
        }
    }

    /// Calls `each` with every account until it breaks, for VRFY, EXPN and the like. Names of lines
    /// that [`Names::canonical`] refuses are left out.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the accounts cannot be read.
    pub fn scan(&self, mut each: impl FnMut(Account) -> ControlFlow<()>) -> Result<()> {
        match &self.source {
            Source::File(users) => users.entries(|entry| match self.names.canonical(entry.name) {
                Some(name) => each(entry.to_account(&name)),
                None => ControlFlow::Continue(()),
            }),
            Source::System(system) => system.entries(|entry| {
                let name = self.names.canonical(entry.name).filter(|_| entry.owner.is_some());
                match name {
                    Some(name) => each(entry.to_account(&name)),
                    None => ControlFlow::Continue(()),
                }
            }),
        }
    }

    /// Returns the mechanisms that some account can use, for CAPA and EHLO. Those that send the
    /// password are among them even if the connection is not encrypted: that is for the caller.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the accounts cannot be read.
    pub fn mechanisms(&self) -> Result<Mechanisms> {
        let dearest = self.dearest()?;
        let costs = Scheme::ALL.into_iter().filter_map(|scheme| dearest.of(scheme));
        Ok(costs.map(Password::mechanisms).fold(Mechanisms::default(), Mechanisms::union))
    }

    /// Whether some account has a `{PLAIN}` secret, so that APOP is worth its timestamp.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the accounts cannot be read.
    pub fn has_secret(&self) -> Result<bool> {
        Ok(self.dearest()?.of(Scheme::Plain).is_some())
    }

    fn dearest(&self) -> Result<Dearest> {
        match &self.source {
            Source::System(system) => system.dearest(),
            Source::File(users) => Ok(self.find_in_file(users, Vec::new())?.dearest),
        }
    }
}

/// Checks a password, and on a failure computes what the dearest fields of all would have taken. The
/// right password of a closed account is a failure too.
fn check(found: &Found, given: &[u8]) -> bool {
    let own = found.password.as_ref().ok();
    let is_right = own.is_some_and(|password| password.verify(given));
    if !is_right || found.account.is_err() {
        found.dearest.spend(own.map(Password::cost), given);
    }
    is_right
}

#[cfg(test)]
mod tests;
