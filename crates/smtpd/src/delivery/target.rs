//! The places to which a letter goes.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use accounts::{Account, Owner};

use crate::protocol::address::Mailbox;

/// Where a copy of a letter goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The mailbox of a user.
    Mailbox {
        /// The user.
        account: Account,
        /// The sub-address, `tag` of `levy+tag`; empty without one. It is a stranger's text: no path.
        extension: Vec<u8>,
        /// The user's `~/.forward` counts; not for `\name`.
        may_forward: bool,
    },
    /// A command, with the rights of this user, never root's.
    Program {
        /// The command, as it is written.
        command: Vec<u8>,
        /// The user.
        owner: Owner,
        /// Whose `~/.forward` it stands in; `None` for one of the aliases.
        of: Option<Forwarder>,
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
    /// `/dev/null`: the letter is taken and goes nowhere.
    Nowhere,
}

/// A user whose `~/.forward` has a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarder {
    /// The user's name.
    pub name: Vec<u8>,
    /// The user's home.
    pub home: PathBuf,
    /// The sub-address by which the letter came.
    pub extension: Vec<u8>,
}

impl Target {
    /// Returns what makes two targets the same.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Target::Mailbox { account, .. } => [b"m", &account.name[..]].concat(),
            Target::Program { command, .. } => [b"p", &command[..]].concat(),
            Target::File { path, .. } => [b"f", path.as_os_str().as_bytes()].concat(),
            Target::Elsewhere(Mailbox { local, domain, .. }) => {
                [b"e", &local[..], b"@", &domain.to_ascii_lowercase()].concat()
            }
            Target::Nowhere => b"n".to_vec(),
        }
    }
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
