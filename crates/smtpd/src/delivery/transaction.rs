//! The places of a letter's recipients, each tried at RCPT by a process of its owner's, which then waits for the letter.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use accounts::{Account, Owner};
use forknet::{Boxes, Peer};
use mailstore::{MailKind, targets};

use crate::delivery::boxed::Kind;
use crate::delivery::order::{Attempt, Command, Place};
use crate::delivery::route::{Route, Router, Target};
use crate::delivery::shells::may_have_commands;
use crate::delivery::target::Forwarder;
use crate::delivery::workers::{At, TRY_WAIT, Who, Workers};
use crate::delivery::{mailbox, queue};
use crate::options::Config;
use crate::protocol::address::{Mailbox, Name};
use crate::protocol::envelope::{Login, Way};
use crate::protocol::question::Verdict;

/// Most places of one recipient.
const MAX_TARGETS: usize = 1000;

/// The recipients of a letter so far.
pub(super) struct Transaction<'a> {
    pub(super) config: &'a Config,
    /// The client.
    peer: Option<Peer>,
    pub(super) workers: Workers<'a>,
    /// Where the letter goes: to mailboxes, or to terminals.
    pub(super) way: Way,
    /// The recipients and where their letters go.
    recipients: Vec<(Name, Found)>,
}

/// A recipient that was found.
#[derive(Clone, Default)]
pub(super) struct Found {
    /// Where the letter goes; nowhere, where the user has moved and we do not forward.
    pub(super) places: Vec<At>,
    /// Addresses elsewhere, and the sender there where it is not the letter's; the address of the RCPT where there is
    /// none.
    pub(super) elsewhere: Vec<(Option<String>, Option<Mailbox>)>,
    /// The user has moved there.
    pub(super) moved_to: Option<Mailbox>,
    /// The letter goes to `/dev/null`, perhaps among others.
    pub(super) goes_nowhere: bool,
}

/// A recipient that is being looked up.
struct Search<'s> {
    name: &'s Name,
    size: u64,
    until: Instant,
    /// Users whose `~/.forward` was followed.
    followed: HashSet<Vec<u8>>,
    found: Vec<At>,
    elsewhere: Vec<(Option<String>, Option<Mailbox>)>,
    goes_nowhere: bool,
}

impl<'a> Transaction<'a> {
    /// Begins with no recipient.
    pub(super) fn new(config: &'a Config, boxes: Boxes) -> Transaction<'a> {
        let workers = Workers::new(config, boxes);
        Transaction { config, peer: None, workers, way: Way::Mail, recipients: Vec::new() }
    }

    /// Notes the client, for the log.
    pub(super) fn set_peer(&mut self, peer: Peer) {
        if self.peer != Some(peer) {
            self.peer = Some(peer);
            self.workers.about = peer.to_string();
        }
    }

    /// Returns a recipient that was tried at RCPT.
    pub(super) fn tried(&self, name: &Name) -> Option<Found> {
        let known = self.recipients.iter().find(|(known, _)| known == name);
        known.map(|(_, found)| found.clone())
    }

    /// Tries the places of a recipient, for a letter of this many bytes. One of another recipient's is not tried again.
    ///
    /// # Errors
    /// The letter cannot go to one of them: so it is not taken for this recipient at all.
    pub(super) fn recipient(
        &mut self,
        name: &Name,
        size: u64,
        login: &Login,
    ) -> Result<Found, Verdict> {
        let router = Router::open(self.config)?;
        let routes = match router.expand(name) {
            Err(Verdict::Elsewhere) => return self.relayed(name, size, login),
            routes => routes?,
        };
        let moved_to = routes.moved_to;
        if moved_to.is_some() && !self.config.has_queue() {
            return Ok(Found { moved_to, ..Found::default() });
        }
        let until = Instant::now() + TRY_WAIT;
        let (followed, found, elsewhere) = (HashSet::new(), Vec::new(), Vec::new());
        let goes_nowhere = false;
        let mut search = Search { name, size, until, followed, found, elsewhere, goes_nowhere };
        for route in routes.all {
            self.follow(&router, &mut search, route)?;
        }
        let Search { found: places, elsewhere, goes_nowhere, .. } = search;
        self.workers.let_go();
        Ok(self.found(name, Found { places, elsewhere, moved_to, goes_nowhere }))
    }

    /// Takes a recipient who is elsewhere, if the client may send there.
    fn relayed(&mut self, name: &Name, size: u64, login: &Login) -> Result<Found, Verdict> {
        let peer = self.peer.ok_or(Verdict::Unusable)?;
        match queue::admit(self.config, peer, login, size.saturating_add(self.config.min_free)) {
            Verdict::Accepted if self.way == Way::Send => Err(Verdict::NoTerminal),
            Verdict::Accepted => {
                let elsewhere = vec![(None, None)];
                Ok(self.found(name, Found { elsewhere, ..Found::default() }))
            }
            verdict => Err(verdict),
        }
    }

    fn found(&mut self, name: &Name, found: Found) -> Found {
        self.recipients.retain(|(known, _)| known != name);
        self.recipients.push((name.clone(), found.clone()));
        found
    }

    /// Tries a target, and those that it leads to.
    fn follow(
        &mut self,
        router: &Router<'_>,
        search: &mut Search<'_>,
        route: Route,
    ) -> Result<(), Verdict> {
        if search.found.len() + search.elsewhere.len() >= MAX_TARGETS {
            log::warn!("{}: more than {MAX_TARGETS} places for one recipient", self.workers.about);
            return Err(Verdict::Unusable);
        }
        if self.follow_to_terminal(search, &route)? {
            return Ok(());
        }
        let Route { target, sender } = route;
        if let (Target::Elsewhere(address), true) = (&target, self.config.has_queue()) {
            search.elsewhere.push((sender, Some(address.clone())));
            return Ok(());
        }
        if target == Target::Nowhere {
            search.goes_nowhere = true;
            return Ok(());
        }
        let extension = match &target {
            Target::Mailbox { extension, .. } => extension.clone(),
            _ => Vec::new(),
        };
        let (who, place, account) = self.place_of(search, target)?;
        let attempt = self.attempt(place, sender.clone(), search);
        match (self.workers.attempt(who, attempt, search.until)?, account) {
            (Ok(at), _) => {
                if !search.found.contains(&at) {
                    search.found.push(at);
                }
                Ok(())
            }
            (Err(text), Some(account)) => {
                search.followed.insert(account.name.clone());
                for mut route in self.forward(router, &text, (&account, extension), who.1)? {
                    route.sender = route.sender.or_else(|| sender.clone());
                    self.follow(router, search, route)?;
                }
                Ok(())
            }
            (Err(_), None) => Err(Verdict::Unusable),
        }
    }

    fn attempt(&self, place: Place, sender: Option<String>, search: &Search<'_>) -> Attempt {
        Attempt { client: self.workers.about.clone(), place, sender, size: search.size }
    }

    /// Tries the terminal of a target, where the letter goes to terminals. Returns whether it goes there alone.
    fn follow_to_terminal(
        &mut self,
        search: &mut Search<'_>,
        route: &Route,
    ) -> Result<bool, Verdict> {
        let Target::Mailbox { account, .. } = &route.target else {
            return if self.way == Way::Send { Err(Verdict::NoTerminal) } else { Ok(false) };
        };
        if self.way == Way::Mail {
            return Ok(false);
        }
        let owner = self.config.mail.owner(account).map_err(|_| Verdict::Unusable)?;
        let is_extra = self.way == Way::SendAndMail;
        let place = Place::Terminal { name: account.name.clone(), is_extra };
        let attempt = self.attempt(place, route.sender.clone(), search);
        match self.workers.attempt((Kind::Terminals, owner), attempt, search.until) {
            Ok(Ok(at)) => {
                if !search.found.contains(&at) {
                    search.found.push(at);
                }
                Ok(!is_extra)
            }
            Err(verdict) if self.way == Way::Send => Err(verdict),
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }

    /// Returns the place of a target, whose process tries it, and the user whose mailbox it is.
    fn place_of(
        &self,
        search: &Search<'_>,
        target: Target,
    ) -> Result<(Who, Place, Option<Account>), Verdict> {
        match target {
            Target::Mailbox { account, extension, may_forward } => {
                // One who was followed already has a loop: the letter stays in the mailbox.
                let may_forward = may_forward && !search.followed.contains(&account.name);
                let owner = self.config.mail.owner(&account).map_err(|trouble| {
                    let name = account.name.escape_ascii();
                    log::warn!("{}: mailbox of '{name}': {}", self.workers.about, trouble.why);
                    Verdict::Unusable
                })?;
                let (kind, place) = self.mailbox(&account, &extension, may_forward, search.name);
                let owner = self.config.lmtp_owner.unwrap_or(owner);
                Ok(((kind, owner), place, Some(account)))
            }
            Target::Program { command, owner, of } => {
                let (name, home, extension) = match of {
                    Some(Forwarder { name, home, extension }) => (name, home, extension),
                    None => (Vec::new(), PathBuf::new(), Vec::new()),
                };
                let command = Command {
                    text: command,
                    is_shell: true,
                    may_forward: false,
                    name,
                    home,
                    recipient: self.address(search.name),
                    extension,
                };
                Ok(((Kind::Programs, owner), Place::Program(command), None))
            }
            Target::File { path, owner } => Ok(((Kind::Programs, owner), Place::File(path), None)),
            Target::Elsewhere(_) | Target::Nowhere => {
                log::warn!("{}: an address elsewhere, and there is no --queue", self.workers.about);
                Err(Verdict::Unusable)
            }
        }
    }

    /// Returns the place of a user's mail.
    fn mailbox(
        &self,
        account: &Account,
        extension: &[u8],
        may_forward: bool,
        recipient: &Name,
    ) -> (Kind, Place) {
        let (name, home) = (account.name.clone(), account.home.clone());
        match &self.config.mda {
            None if self.config.lmtp_server.is_some() => {
                (Kind::Lmtp, Place::Mailbox { name, home, may_forward: false })
            }
            Some(mda) => {
                let command = Command {
                    text: mda.clone(),
                    is_shell: false,
                    may_forward,
                    name,
                    home,
                    recipient: self.address(recipient),
                    extension: extension.to_vec(),
                };
                (Kind::Programs, Place::Program(command))
            }
            None if self.config.mail.mail.kind() == MailKind::Mbox => {
                let is_own = self.config.mail.mail.needs_home();
                let kind = if is_own { Kind::Programs } else { Kind::Spools };
                (kind, Place::Mailbox { name, home, may_forward })
            }
            None => {
                self.make_folder(account);
                (Kind::Files, Place::Mailbox { name, home, may_forward })
            }
        }
    }

    /// Makes, with the rights of root, a mailbox that its user cannot make.
    fn make_folder(&self, account: &Account) {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let owner = self.config.mail.owner(account);
        if let Err(trouble) =
            owner.and_then(|owner| mailbox::make_for(&self.config.mail, account, owner))
        {
            log::debug!("{}: {}", self.workers.about, trouble.why); // the user's process meets it too
        }
    }

    /// Reads the text of a user's `~/.forward`.
    fn forward(
        &self,
        router: &Router<'_>,
        text: &[u8],
        (account, extension): (&Account, Vec<u8>),
        owner: Owner,
    ) -> Result<Vec<Route>, Verdict> {
        let failed = |why: &str| {
            log::warn!(
                "{}: ~/.forward of '{}': {why}",
                self.workers.about,
                account.name.escape_ascii()
            );
            Verdict::Unusable
        };
        let mut routes = router.forward(&targets(text).map_err(failed)?, account, owner)?;
        let has_commands = routes
            .iter()
            .any(|route| matches!(route.target, Target::Program { .. } | Target::File { .. }));
        if has_commands && !may_have_commands(&account.shell) {
            return Err(failed("a command or a file, and the user's shell is not in /etc/shells"));
        }
        if routes.is_empty() {
            let (account, extension) = (account.clone(), Vec::new());
            let target = Target::Mailbox { account, extension, may_forward: false };
            routes.push(Route { target, sender: None });
        }
        for route in &mut routes {
            match &mut route.target {
                Target::Mailbox { account: to, may_forward, .. } => {
                    *may_forward &= to.name != account.name;
                }
                Target::Program { of, .. } => {
                    let (name, home) = (account.name.clone(), account.home.clone());
                    *of = Some(Forwarder { name, home, extension: extension.clone() });
                }
                _ => {}
            }
        }
        Ok(routes)
    }

    /// Returns the address of a RCPT; the postmaster's has our first domain.
    pub(super) fn address(&self, name: &Name) -> Vec<u8> {
        let domain = match name.domain.is_empty() {
            true => self.config.first_domain().as_bytes(),
            false => &name.domain,
        };
        [&name.local[..], b"@", domain].concat()
    }

    /// Forgets the recipients; what was made for them is gone when this returns.
    pub(super) fn forget(&mut self) {
        self.way = Way::Mail;
        self.recipients.clear();
        self.workers.forget();
    }

    /// Has the letter left where it is, and forgets the recipients. The process that was `alone` has left it there.
    pub(super) fn keep(&mut self, alone: Option<usize>) {
        self.recipients.clear();
        self.workers.keep(alone);
    }
}
