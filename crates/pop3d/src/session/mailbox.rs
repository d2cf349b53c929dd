//! The process that answers about a login, with the keeper's rights; after the right password the user's,
//! for good, with nothing but that mailbox: TRANSACTION and UPDATE.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use accounts::password::Unusable;
use accounts::sasl::{Authority, Denial};
use accounts::{Account, Accounts, Checker, Decoy, Login, Owner, Refusal, Secret, from_hex};
use forknet::{Client, Leftover, become_user, confine_to, in_title};
use log::{info, warn};
use mailstore::{Error, Folder, Maildrop};
use nix::unistd::{getegid, geteuid};

use crate::options::Config;
use crate::protocol::Protocol;
use crate::protocol::credentials::{Credentials, Denied, Proof};
use crate::protocol::question::{ACCEPTED, Question};
use crate::session::dialogue::{BUFFER, Session};

/// Longest wait for the lock of a maildrop, because a session may just be about to release it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two attempts to lock a maildrop.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Answers a question about a login, in a process of its own; after the right password it serves the
/// client. Returns the exit code.
pub fn answer(config: &Config, mut asked: forknet::Question) -> i32 {
    asked.show("a login");
    let text = Secret::new(asked.take_text());
    let Some(question) = Question::decode(&text) else {
        warn!("a malformed question about a login");
        return asked.answer(&Denied::NotChecked.encode());
    };
    drop(text);
    let (account, maildrop) = match log_in(config, &question) {
        Ok(accepted) => accepted,
        Err(denied) => return asked.answer(&denied.encode()),
    };
    drop(question);
    let name = account.name.escape_ascii().to_string();
    asked.show(format_args!("mailbox of {}", in_title(name.as_bytes())));
    asked.serve(ACCEPTED, |client, left| transaction(config, client, left, name, maildrop))
}

/// Checks a login and opens the maildrop with its user's rights, for good.
fn log_in(config: &Config, question: &Question) -> Result<(Account, Maildrop), Denied> {
    let Question { peer, credentials } = question;
    let name = credentials.name.escape_ascii();
    let account = check(config, credentials).map_err(|why| match why {
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
    })?;
    let opened = owner(config, &account).and_then(|owner| {
        become_user(owner.uid, owner.gid).map_err(|error| Trouble::temporary(error.to_string()))?;
        let (folder, maildrop) = open(config, &account, owner)?;
        confine_to(folder).map_err(|error| Trouble::temporary(error.to_string()))?;
        Ok(maildrop)
    });
    match opened {
        Ok(maildrop) => Ok((account, maildrop)),
        Err(Trouble { denied: Denied::InUse, why }) => {
            info!("{peer}: login of '{name}': {why}");
            Err(Denied::InUse)
        }
        Err(Trouble { denied, why }) => {
            warn!("{peer}: login of '{name}': {why}");
            Err(denied)
        }
    }
}

/// Why a login is not accepted.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is wrong.
    Login(Refusal),
    /// It could not be checked.
    NotChecked(String),
}

/// Checks a login against the accounts.
pub(super) fn check(config: &Config, credentials: &Credentials) -> Result<Account, Refused> {
    let unreadable = |error: accounts::Error| Refused::NotChecked(error.to_string());
    let source = config.source().map_err(unreadable)?;
    let accounts = Accounts { source, names: config.names };
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

/// Why a mailbox cannot be opened.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) denied: Denied,
    pub(super) why: String,
}

impl Trouble {
    fn temporary(why: String) -> Trouble {
        Trouble { denied: Denied::Temporary, why }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        let denied = match &error {
            Error::InUse { .. } => Denied::InUse,
            error if error.is_temporary() => Denied::Temporary,
            _ => Denied::Permanent,
        };
        let why = match error {
            Error::InUse { what } => format!("{what} is in use by another session"),
            error => error.to_string(),
        };
        Trouble { denied, why }
    }
}

/// Returns whose rights the session has. Without root's rights there is one user only.
fn owner(config: &Config, account: &Account) -> Result<Owner, Trouble> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid != 0 {
        return Ok(Owner { uid, gid });
    }
    account.owner.or(config.mail_user).filter(|owner| owner.uid != 0).ok_or_else(|| Trouble {
        denied: Denied::Permanent,
        why: "no user id in the users file, and no --mail-user".into(),
    })
}

/// Opens the maildrop of an account, by its folder's descriptor; the folder is `None` where there is none
/// yet. Nothing is made.
pub(super) fn open(
    config: &Config,
    account: &Account,
    owner: Owner,
) -> Result<(Option<Folder>, Maildrop), Trouble> {
    let path = config.mail.path(&account.name, &account.home)?;
    let walked = Folder::walk(&path, |_| Ok(()))?;
    let not_there = |what: &OsStr| {
        let what = walked.folder.path().join(what);
        // A disk that is not mounted yet, more likely than mail that never was.
        Trouble::temporary(format!("{}: No such file or directory", what.display()))
    };
    let is_home = config.mail.needs_home() && path == account.home;
    match walked.missing.as_slice() {
        [] => {}
        [_] if !is_home => return Ok((None, Maildrop::none(&path))),
        [first, ..] => return Err(not_there(first)),
    }
    let uid = walked.folder.owner()?.0.as_raw();
    if uid != owner.uid {
        let path = walked.folder.path().display();
        return Err(Trouble::temporary(format!("{path}: belongs to uid {uid}, not {}", owner.uid)));
    }
    let maildrop = wait_for_lock(&walked.folder)?;
    Ok((Some(walked.folder), maildrop))
}

/// Opens a maildrop, waiting up to [`LOCK_TIMEOUT`] for its lock.
fn wait_for_lock(folder: &Folder) -> mailstore::Result<Maildrop> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match Maildrop::open(folder) {
            Err(Error::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            other => return other,
        }
    }
}

/// Serves a client whose login was right.
fn transaction(
    config: &Config,
    client: &mut Client,
    left: &Leftover,
    name: String,
    maildrop: Maildrop,
) -> io::Result<()> {
    let plaintext = config.plaintext.allows(client.peer.is_loopback());
    let names = (client.peer.to_string(), config.host.clone());
    let (protocol, reply) = Protocol::logged_in(names, plaintext, name, maildrop);
    let session = Session::new(BUFFER, (left, &mut client.conn), &mut client.transcript);
    session.with_title(client.title.clone()).transact(protocol, &reply)
}

impl<S: Read + Write> Session<'_, S> {
    /// Runs TRANSACTION and UPDATE; `reply` is that to the login.
    pub(super) fn transact(mut self, mut protocol: Protocol, reply: &[u8]) -> io::Result<()> {
        let end = self.queue(reply).and_then(|()| self.converse(&mut protocol));
        self.end(protocol, end)
    }
}
