//! Finds the places to which the letters for an address go, in a process that may read the accounts and the aliases.

use accounts::{Account, Owner};
use log::Level;
use mailstore::AliasTarget;

use crate::delivery::directory::{Directory, Entry};
use crate::delivery::expansion::{Expansion, List};
use crate::delivery::log_once::log_once;
use crate::options::Config;
use crate::protocol::address::Name;
use crate::protocol::question::Verdict;

pub use crate::delivery::target::{Route, Routes, Target};

/// Expands addresses; opened for one question.
#[derive(Debug)]
pub struct Router<'a> {
    directory: Directory<'a>,
}

impl<'a> Router<'a> {
    /// Opens accounts and aliases.
    ///
    /// # Errors
    /// [`Verdict::Unreadable`]; why, is logged: `users FILE: reason`, `aliases FILE: reason`.
    pub fn open(config: &'a Config) -> Result<Router<'a>, Verdict> {
        Ok(Router { directory: Directory::open(config)? })
    }

    /// Expands the address of a RCPT.
    ///
    /// # Errors
    /// [`Verdict::Unknown`], [`Verdict::Elsewhere`] for a domain that is not ours, and temporary ones, whose reason is
    /// logged.
    pub fn expand(&self, name: &Name) -> Result<Routes, Verdict> {
        let routes = self.expand_anywhere(name)?;
        let elsewhere = routes.all.iter().find_map(|route| match &route.target {
            Target::Elsewhere(address) => Some(&address.text),
            _ => None,
        });
        let has_queue = self.directory.config.has_queue();
        if let (None, Some(text), false) = (&routes.moved_to, elsewhere, has_queue) {
            let line = format!("aliases: <{text}> is elsewhere, and there is no --queue");
            log_once(Level::Error, line);
            return Err(Verdict::Unusable);
        }
        Ok(routes)
    }

    /// As [`Router::expand`], whether or not there is a queue for addresses elsewhere.
    ///
    /// # Errors
    /// As [`Router::expand`].
    pub fn expand_anywhere(&self, name: &Name) -> Result<Routes, Verdict> {
        if !self.directory.is_ours(&name.domain) {
            return Err(Verdict::Elsewhere);
        }
        let mut expansion = Expansion::new(&self.directory);
        let list = List::default();
        let is_postmaster = self.directory.is_postmaster(name);
        match expansion.name(name, &list) {
            Err(Verdict::Looped) if is_postmaster => {}
            expanded => expanded?,
        }
        if expansion.routes.is_empty() && is_postmaster {
            expansion.first_user(&list)?; // always there (RFC 5321 §4.5.1)
        }
        let all = expansion.routes;
        let moved_to = match all.as_slice() {
            [] if expansion.has_bad => return Err(Verdict::Unusable),
            [] => return Err(Verdict::Unknown),
            [Route { target: Target::Elsewhere(address), sender: None }] => Some(address.clone()),
            _ => None,
        };
        Ok(Routes { all, moved_to })
    }

    /// Returns whether an address is an alias, whose members EXPN tells.
    ///
    /// # Errors
    /// As [`Router::expand`].
    pub fn is_alias(&self, name: &Name) -> Result<bool, Verdict> {
        if !self.directory.is_ours(&name.domain) {
            return Err(Verdict::Elsewhere);
        }
        match self.directory.look_up(name)? {
            Some(Entry::Alias(_)) => Ok(true),
            Some(_) => Ok(false),
            None => Err(Verdict::Unknown),
        }
    }

    /// Expands the targets of a user's `~/.forward`, which that user's process has read: commands and files have the
    /// user's rights, and the user's own name means the mailbox.
    ///
    /// # Errors
    /// Temporary ones, whose reason is logged. An address that is not ours is a target, and a name that is no user is
    /// none: the letter must go into the mailbox if nothing is left.
    pub fn forward(
        &self,
        targets: &[AliasTarget],
        account: &Account,
        owner: Owner,
    ) -> Result<Vec<Route>, Verdict> {
        let mut expansion = Expansion::new(&self.directory);
        let what = format!(".forward of '{}'", account.name.escape_ascii());
        let list = List::of_forward(what, owner);
        expansion.targets(targets, &list)?;
        for route in &mut expansion.routes {
            if let Target::Mailbox { account: found, may_forward, .. } = &mut route.target {
                *may_forward &= found.name != account.name;
            }
        }
        Ok(expansion.routes)
    }
}
