//! Expands a name: follows aliases and the files that they include to their ends. Within the targets of an alias its own name is
//! the user of that name.

use std::collections::HashSet;
use std::path::{Path as FilePath, PathBuf};

use accounts::{Account, Owner};
use log::Level;
use mailstore::{AliasTarget, Found, read_include};
use nix::unistd::{getegid, geteuid};

use crate::delivery::directory::{Directory, Entry, is_postmaster};
use crate::delivery::log_once::log_once;
use crate::delivery::target::{Route, Target};
use crate::protocol::address::{Mailbox, Name, Path, local_part_utf8, without_brackets};
use crate::protocol::question::Verdict;

/// Most targets of an address, a number.
pub const MAX_ROUTES: usize = 1000;
/// The file that takes all and keeps nothing, which every list may name.
const NOWHERE: &str = "/dev/null";
/// Most aliases and files one within the other, a number.
const MAX_DEPTH: usize = 30;

/// The list whose targets are looked at.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// What it is, for the log; empty for the address of a RCPT.
    what: String,
    /// The domain of names in it that have none.
    domain: Vec<u8>,
    /// The sender of letters to its members.
    sender: Option<String>,
    /// Whose rights its commands have; `None` for those of the aliases.
    owner: Option<Owner>,
    /// It must not have commands and files, because an ordinary user keeps it.
    is_users: bool,
}

impl List {
    /// Returns the list that a user's `~/.forward` is.
    #[must_use]
    pub fn of_forward(what: String, owner: Owner) -> List {
        List { what, owner: Some(owner), ..List::default() }
    }
}

/// Where an address is.
enum Place {
    /// A name in one of our domains.
    Here(Name),
    /// Another server's.
    Elsewhere(Mailbox),
}

/// A step from one list to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    /// A line of the aliases.
    Line(u64),
    /// An included file.
    File(PathBuf),
    /// From the postmaster to the one who is.
    Postmaster,
}

/// An expansion of one address.
pub struct Expansion<'d, 'a> {
    directory: &'d Directory<'a>,
    /// The targets so far.
    pub routes: Vec<Route>,
    /// The targets that are among the routes.
    seen: HashSet<Vec<u8>>,
    /// The steps to the list that is being looked at.
    within: Vec<Step>,
    /// All steps so far.
    done: HashSet<Step>,
    /// A target was no address.
    pub has_bad: bool,
}

impl<'d, 'a> Expansion<'d, 'a> {
    /// Begins with nothing.
    #[must_use]
    pub fn new(directory: &'d Directory<'a>) -> Expansion<'d, 'a> {
        let (routes, within, has_bad) = (Vec::new(), Vec::new(), false);
        let (seen, done) = (HashSet::new(), HashSet::new());
        Expansion { directory, routes, seen, within, done, has_bad }
    }

    /// Adds what a name of ours leads to.
    ///
    /// # Errors
    /// Temporary ones, whose reason is logged.
    pub fn name(&mut self, name: &Name, list: &List) -> Result<(), Verdict> {
        match self.directory.look_up(name)? {
            Some(Entry::User(account, extension)) => self.mailbox((account, extension), true, list),
            Some(Entry::Alias(found)) => self.alias(name, found, list),
            Some(Entry::Postmaster) => self.postmaster(name, list),
            None => {
                self.note_unknown(name, list);
                Ok(())
            }
        }
    }

    /// Logs a member of a list that is no user. The others get their letters: there is no mailbox that
    /// this one could be in.
    fn note_unknown(&self, name: &Name, list: &List) {
        if !list.what.is_empty() {
            let line = format!("{}: '{}': no such user", list.what, name.local.escape_ascii());
            log_once(Level::Warn, line);
        }
    }

    fn alias(&mut self, name: &Name, found: Found, list: &List) -> Result<(), Verdict> {
        let step = Step::Line(found.line);
        if self.within.contains(&step) {
            return self.own_name(name, list);
        }
        let what = self.directory.line(found.line);
        let targets = found.targets.map_err(|fault| unusable(&what, fault))?;
        let inner = List {
            what,
            domain: if found.has_domain {
                self.directory.domain(name).to_vec()
            } else {
                Vec::new()
            },
            sender: self.directory.owner_of(name).or_else(|| list.sender.clone()),
            owner: None,
            is_users: false,
        };
        self.step(step, |expansion| expansion.targets(&targets, &inner))
    }

    /// Goes a step that was not gone before.
    fn step(
        &mut self,
        step: Step,
        go: impl FnOnce(&mut Self) -> Result<(), Verdict>,
    ) -> Result<(), Verdict> {
        if !self.done.insert(step.clone()) {
            return Ok(());
        }
        self.within.push(step);
        let gone = go(self);
        self.within.pop();
        gone
    }

    /// An alias within itself is the user of that name.
    fn own_name(&mut self, name: &Name, list: &List) -> Result<(), Verdict> {
        match self.directory.user_only(name)? {
            Some(user) => self.mailbox(user, true, list),
            None if is_postmaster(&name.local) => self.first_user(list),
            None => {
                let local = name.local.escape_ascii();
                Err(looped(&list.what, &format!("'{local}' leads to itself")))
            }
        }
    }

    /// The postmaster is the one of `--postmaster`, or root, and if these are none the first user.
    fn postmaster(&mut self, name: &Name, list: &List) -> Result<(), Verdict> {
        let local =
            self.directory.config.postmaster.as_deref().unwrap_or("root").as_bytes().to_vec();
        let who = Name { local, domain: name.domain.clone() };
        let before = self.routes.len();
        let is_known = !is_postmaster(&who.local) && self.directory.look_up(&who)?.is_some();
        if is_known && !self.within.contains(&Step::Postmaster) {
            match self.step(Step::Postmaster, |expansion| expansion.name(&who, list)) {
                Err(Verdict::Looped) => {} // logged, and the postmaster is always there
                gone => gone?,
            }
        }
        if self.routes.len() == before { self.first_user(list) } else { Ok(()) }
    }

    /// Adds the first user, if there is one.
    ///
    /// # Errors
    /// Temporary ones, whose reason is logged.
    pub fn first_user(&mut self, list: &List) -> Result<(), Verdict> {
        match self.directory.first_user()? {
            Some(account) => self.mailbox((account, Vec::new()), true, list),
            None => Ok(()),
        }
    }

    /// Adds what the targets of a list lead to.
    ///
    /// # Errors
    /// Temporary ones, whose reason is logged.
    pub fn targets(&mut self, targets: &[AliasTarget], list: &List) -> Result<(), Verdict> {
        if self.within.len() > MAX_DEPTH {
            return Err(looped(&list.what, "aliases within aliases without an end"));
        }
        for target in targets {
            match target {
                AliasTarget::Address(text) => self.address(text, list)?,
                AliasTarget::Final(text) => self.final_address(text, list)?,
                AliasTarget::Program(command) => {
                    let (command, owner) = (command.clone(), self.owner(list)?);
                    self.add(Target::Program { command, owner, of: None }, list)?;
                }
                AliasTarget::File(path) if path == FilePath::new(NOWHERE) => {
                    self.add(Target::Nowhere, list)?;
                }
                AliasTarget::File(path) => {
                    let (path, owner) = (path.clone(), self.owner(list)?);
                    self.add(Target::File { path, owner }, list)?;
                }
                AliasTarget::Include(path) => self.include(path, list)?,
            }
        }
        Ok(())
    }

    fn address(&mut self, text: &[u8], list: &List) -> Result<(), Verdict> {
        match self.parse(text, list) {
            Some(Place::Here(name)) => self.name(&name, list),
            Some(Place::Elsewhere(address)) => self.add(Target::Elsewhere(address), list),
            None => Ok(()),
        }
    }

    /// `\name`: no alias and no `~/.forward` counts.
    fn final_address(&mut self, text: &[u8], list: &List) -> Result<(), Verdict> {
        let name = match self.parse(text, list) {
            Some(Place::Here(name)) => name,
            Some(Place::Elsewhere(address)) => return self.add(Target::Elsewhere(address), list),
            None => return Ok(()),
        };
        match self.directory.user_only(&name)? {
            Some(user) => self.mailbox(user, false, list)?,
            None => self.note_unknown(&name, list),
        }
        Ok(())
    }

    /// Reads an address. What is none is logged and left out, as a member that is no user.
    fn parse(&mut self, text: &[u8], list: &List) -> Option<Place> {
        match without_brackets(text).map(|path| (path.name(), path)) {
            Ok((Some(name), Path::Mailbox(_))) if self.directory.is_ours(&name.domain) => {
                Some(Place::Here(name))
            }
            Ok((Some(name), Path::Mailbox(address))) => {
                Some(Place::Elsewhere(in_ascii(address, &name)))
            }
            Ok((Some(name), _)) => Some(Place::Here(Name { domain: list.domain.clone(), ..name })),
            Ok((None, _)) | Err(_) => {
                unusable(&list.what, &format!("'{}': no address", text.escape_ascii()));
                self.has_bad = true;
                None
            }
        }
    }

    fn include(&mut self, path: &FilePath, list: &List) -> Result<(), Verdict> {
        let step = Step::File(path.to_owned());
        if self.within.contains(&step) {
            return Err(looped(&list.what, &format!("{} leads to itself", path.display())));
        }
        if list.owner.is_some() {
            return Err(unusable(&list.what, ":include: is for aliases"));
        }
        let included =
            read_include(path).map_err(|error| unusable(&list.what, &error.to_string()))?;
        let inner = List {
            what: format!(":include:{}", path.display()),
            is_users: list.is_users || !included.is_ours,
            ..list.clone()
        };
        self.step(step, |expansion| expansion.targets(&included.targets, &inner))
    }

    /// Returns whose rights a command of this list has, and what writes to a file: never root's.
    fn owner(&self, list: &List) -> Result<Owner, Verdict> {
        if list.is_users {
            return Err(unusable(&list.what, "commands and files are for lists of root's own"));
        }
        if let Some(owner) = list.owner {
            return Ok(owner);
        }
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if uid != 0 {
            return Ok(Owner { uid, gid });
        }
        let none = || unusable(&list.what, "no --mail-user whose rights a command or file needs");
        self.directory.config.mail.mail_user.filter(|owner| owner.uid != 0).ok_or_else(none)
    }

    fn mailbox(
        &mut self,
        (account, extension): (Account, Vec<u8>),
        may_forward: bool,
        list: &List,
    ) -> Result<(), Verdict> {
        self.add(Target::Mailbox { account, extension, may_forward }, list)
    }

    /// Adds a target that is not there yet.
    fn add(&mut self, target: Target, list: &List) -> Result<(), Verdict> {
        if !self.seen.insert(target.key()) {
            return Ok(());
        }
        if self.routes.len() == MAX_ROUTES {
            return Err(unusable(&list.what, "more than 1000 targets in all"));
        }
        self.routes.push(Route { target, sender: list.sender.clone() });
        Ok(())
    }
}

/// Returns an address with its domain as DNS has it, where all of it is in ASCII then: so it can be sent without SMTPUTF8.
fn in_ascii(address: Mailbox, name: &Name) -> Mailbox {
    if address.text.is_ascii() || !address.local.is_ascii() {
        return address;
    }
    let local = local_part_utf8(&address.local);
    let text = format!("{local}@{}", String::from_utf8_lossy(&name.domain));
    Mailbox { domain: name.domain.clone(), text, ..address }
}

/// Logs why a list cannot be used now.
fn unusable(what: &str, why: &str) -> Verdict {
    log_once(Level::Error, format!("{what}: {why}"));
    Verdict::Unusable
}

/// Logs why a list has no end.
fn looped(what: &str, why: &str) -> Verdict {
    log_once(Level::Error, format!("{what}: {why}"));
    Verdict::Looped
}
