//! Expands the address of a RCPT into the places to which its letter goes, in a process that may read the accounts and
//! the aliases. Within the targets of an alias its own name is the user of that name.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path as FilePath, PathBuf};

use accounts::{Account, Owner};
use mailstore::{AliasTarget, Found, read_include};
use nix::unistd::{getegid, geteuid};

use crate::delivery::directory::{Directory, Entry, is_postmaster};
use crate::options::Config;
use crate::protocol::address::{Mailbox, Name, Path, without_brackets};
use crate::protocol::question::Verdict;

/// Most targets of an address, a number.
pub const MAX_ROUTES: usize = 1000;
/// Most aliases and files one within the other, a number.
const MAX_DEPTH: usize = 30;

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
            [] => return Err(Verdict::Unknown),
            [Route { target: Target::Elsewhere(address), sender: None }] => Some(address.clone()),
            _ => None,
        };
        let elsewhere = all.iter().find_map(|route| match &route.target {
            Target::Elsewhere(address) => Some(&address.text),
            _ => None,
        });
        if let (None, Some(text), false) = (&moved_to, elsewhere, self.directory.config.has_queue())
        {
            log::error!("aliases: <{text}> is elsewhere, and there is no --queue");
            return Err(Verdict::Unusable);
        }
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
    /// Temporary ones, whose reason is logged. An address that is not ours is a target.
    pub fn forward(
        &self,
        targets: &[AliasTarget],
        account: &Account,
        owner: Owner,
    ) -> Result<Vec<Route>, Verdict> {
        let mut expansion = Expansion::new(&self.directory);
        let what = format!(".forward of '{}'", account.name.escape_ascii());
        let list = List { what, owner: Some(owner), ..List::default() };
        expansion.targets(targets, &list)?;
        for route in &mut expansion.routes {
            if let Target::Mailbox { account: found, may_forward, .. } = &mut route.target {
                *may_forward &= found.name != account.name;
            }
        }
        Ok(expansion.routes)
    }
}

/// The list whose targets are looked at.
#[derive(Debug, Clone, Default)]
struct List {
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
struct Expansion<'d, 'a> {
    directory: &'d Directory<'a>,
    routes: Vec<Route>,
    /// The targets that are among the routes.
    seen: HashSet<Vec<u8>>,
    /// The steps to the list that is being looked at.
    within: Vec<Step>,
    /// All steps so far.
    done: HashSet<Step>,
}

impl<'d, 'a> Expansion<'d, 'a> {
    fn new(directory: &'d Directory<'a>) -> Expansion<'d, 'a> {
        let (routes, within) = (Vec::new(), Vec::new());
        Expansion { directory, routes, seen: HashSet::new(), within, done: HashSet::new() }
    }

    fn name(&mut self, name: &Name, list: &List) -> Result<(), Verdict> {
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
            log::warn!("{}: '{}': no such user", list.what, name.local.escape_ascii());
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

    fn first_user(&mut self, list: &List) -> Result<(), Verdict> {
        match self.directory.first_user()? {
            Some(account) => self.mailbox((account, Vec::new()), true, list),
            None => Ok(()),
        }
    }

    fn targets(&mut self, targets: &[AliasTarget], list: &List) -> Result<(), Verdict> {
        if self.within.len() > MAX_DEPTH {
            return Err(looped(&list.what, "aliases within aliases without an end"));
        }
        for target in targets {
            match target {
                AliasTarget::Address(text) => self.address(text, list)?,
                AliasTarget::Final(text) => self.final_address(text, list)?,
                AliasTarget::Program(command) => {
                    let (command, owner) = (command.clone(), self.owner(list)?);
                    self.add(Target::Program { command, owner }, list)?;
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
        match self.parse(text, list)? {
            Ok(name) => self.name(&name, list),
            Err(elsewhere) => self.add(Target::Elsewhere(elsewhere), list),
        }
    }

    /// `\name`: no alias and no `~/.forward` counts.
    fn final_address(&mut self, text: &[u8], list: &List) -> Result<(), Verdict> {
        match self.parse(text, list)? {
            Err(elsewhere) => self.add(Target::Elsewhere(elsewhere), list),
            Ok(name) => match self.directory.user_only(&name)? {
                Some(user) => self.mailbox(user, false, list),
                None => {
                    self.note_unknown(&name, list);
                    Ok(())
                }
            },
        }
    }

    /// Reads an address: a name of ours, or the other value, which is elsewhere.
    fn parse(&self, text: &[u8], list: &List) -> Result<Result<Name, Mailbox>, Verdict> {
        let bad = |why: &str| unusable(&list.what, &format!("'{}': {why}", text.escape_ascii()));
        let path = without_brackets(text).map_err(|error| bad(error.0))?;
        let name = path.name().ok_or_else(|| bad("no address"))?;
        match path {
            Path::Mailbox(mailbox) if !self.directory.is_ours(&name.domain) => Ok(Err(mailbox)),
            Path::Mailbox(_) => Ok(Ok(name)),
            _ => Ok(Ok(Name { domain: list.domain.clone(), ..name })),
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
        let included = read_include(path).map_err(|error| {
            log::error!("{}: {error}", list.what);
            Verdict::Unusable
        })?;
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
        if !self.seen.insert(key(&target)) {
            return Ok(());
        }
        if self.routes.len() == MAX_ROUTES {
            return Err(unusable(&list.what, "more than 1000 targets in all"));
        }
        self.routes.push(Route { target, sender: list.sender.clone() });
        Ok(())
    }
}

/// Returns what makes two targets the same.
fn key(target: &Target) -> Vec<u8> {
    match target {
        Target::Mailbox { account, .. } => [b"m", &account.name[..]].concat(),
        Target::Program { command, .. } => [b"p", &command[..]].concat(),
        Target::File { path, .. } => [b"f", path.as_os_str().as_bytes()].concat(),
        Target::Elsewhere(Mailbox { local, domain, .. }) => {
            [b"e", &local[..], b"@", &domain.to_ascii_lowercase()].concat()
        }
    }
}

/// Logs why a list cannot be used now.
fn unusable(what: &str, why: &str) -> Verdict {
    log::error!("{what}: {why}");
    Verdict::Unusable
}

/// Logs why a list has no end.
fn looped(what: &str, why: &str) -> Verdict {
    log::error!("{what}: {why}");
    Verdict::Looped
}
