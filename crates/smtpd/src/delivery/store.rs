//! The process of one user, with that user's rights: tries the places that a letter is to go to, stores it there, and
//! makes it visible.

use std::io;
use std::path::Path;

use accounts::{Account, Owner};
use forknet::confine_to;
use mailstore::{Draft, Maildir, Published, SafeMaildirs, Synced};

use crate::delivery::order::{Attempt, Place, Tried};
use crate::delivery::text::Text;
use crate::delivery::trace::return_path;
use crate::delivery::{forward, mailbox};
use crate::options::Config;
use crate::protocol::question::Verdict;

/// Most places of one process, because each holds four descriptors.
pub const MAX_PLACES: usize = 100;

/// The places of one owner.
pub struct Store<'a> {
    config: &'a Config,
    owner: Owner,
    places: Vec<Tray>,
    safe: SafeMaildirs,
    is_confined: bool,
    is_swept: bool,
}

/// A place that was tried.
struct Tray {
    /// For the log.
    name: String,
    maildir: Maildir,
    sender: Option<String>,
    state: State,
}

enum State {
    Drafted(Draft),
    Written(Synced),
    Visible(Published),
    Nothing,
}

/// Why a letter could not be stored.
#[derive(Debug)]
pub struct Failure {
    /// The answer.
    pub verdict: Verdict,
    /// The reason, for the log.
    pub why: String,
}

impl From<mailstore::Error> for Failure {
    fn from(error: mailstore::Error) -> Failure {
        Failure { verdict: verdict(error.is_full()), why: error.to_string() }
    }
}

impl From<maild::Trouble> for Failure {
    fn from(trouble: maild::Trouble) -> Failure {
        Failure { verdict: verdict(trouble.is_full), why: trouble.why }
    }
}

/// Returns the answer for what could not be stored: whether the disk is full (RFC 5321 §4.2.3).
#[must_use]
pub fn verdict(is_full: bool) -> Verdict {
    if is_full { Verdict::NoRoom } else { Verdict::Unusable }
}

impl<'a> Store<'a> {
    /// Begins with no place. This process has the owner's rights already.
    #[must_use]
    pub fn new(config: &'a Config, owner: Owner) -> Store<'a> {
        let (places, safe) = (Vec::new(), SafeMaildirs::default());
        Store { config, owner, places, safe, is_confined: false, is_swept: false }
    }

    /// Tries a place as a delivery will use it: opens it, makes a draft, has room set aside.
    pub fn attempt(&mut self, attempt: &Attempt) -> Tried {
        let Place::Mailbox { name, home, may_forward } = &attempt.place else {
            return Tried::Verdict(Verdict::Unusable);
        };
        if *may_forward && let Some(tried) = self.forward(&attempt.client, name, home) {
            return tried;
        }
        let account = Account {
            name: name.clone(),
            owner: Some(self.owner),
            gecos: Vec::new(),
            home: home.clone(),
            shell: Vec::new(),
        };
        match self.open(&account, attempt) {
            Ok(tray) => {
                self.places.push(tray);
                Tried::Verdict(Verdict::Accepted)
            }
            Err(_) if self.is_confined => Tried::NotHere,
            Err(Failure { verdict, why }) => {
                log::warn!("{}: mailbox of '{}': {why}", attempt.client, name.escape_ascii());
                Tried::Verdict(verdict)
            }
        }
    }

    /// Reads the user's `~/.forward`; `None` where there is none.
    fn forward(&self, client: &str, name: &[u8], home: &Path) -> Option<Tried> {
        let found = if self.is_confined {
            forward::is_there(home).map(|is_there| is_there.then_some(Tried::NotHere))
        } else {
            forward::read(home, self.owner.uid).map(|text| text.map(Tried::Forward))
        };
        found.unwrap_or_else(|why| {
            log::warn!("{client}: mailbox of '{}': {why}", name.escape_ascii());
            Some(Tried::Verdict(Verdict::Unusable))
        })
    }

    fn open(&self, account: &Account, attempt: &Attempt) -> Result<Tray, Failure> {
        let maildir = mailbox::open(&self.config.mail, account, self.owner, &self.safe)?;
        let needed = attempt.size.saturating_add(self.config.min_free);
        if maildir.folder().free_bytes()? < needed {
            let why = format!("{}: less than {needed} bytes free", maildir.path().display());
            return Err(Failure { verdict: Verdict::NoRoom, why });
        }
        let draft = self.draft(&maildir, attempt)?;
        let name = format!("mailbox of '{}'", account.name.escape_ascii());
        let (sender, state) = (attempt.sender.clone(), State::Drafted(draft));
        Ok(Tray { name, maildir, sender, state })
    }

    /// Makes a draft, with a file of its own or that of another place's.
    fn draft(&self, maildir: &Maildir, attempt: &Attempt) -> Result<Draft, Failure> {
        let other = self.places.iter().filter(|other| other.sender == attempt.sender);
        let other = other.rev().find_map(|other| match &other.state {
            State::Drafted(draft) => Some(draft),
            _ => None,
        });
        let same = other.map(|other| maildir.draft_of_same(other)).transpose()?;
        if let Some(draft) = same.flatten() {
            return Ok(draft);
        }
        let mut draft = maildir.draft()?;
        draft.reserve(attempt.size)?;
        Ok(draft)
    }

    /// Gives up all but the places, for good.
    fn confine(&mut self) -> Result<(), forknet::Error> {
        if !self.is_confined {
            confine_to(self.places.iter().map(|tray| tray.maildir.folder()), true)?;
            self.is_confined = true;
        }
        Ok(())
    }

    /// Writes the letter for these places; it is on the disk when this returns, and nothing is visible. Returns a
    /// verdict for each. The others are forgotten.
    pub fn write(
        &mut self,
        places: &[usize],
        (letter, sender): (&str, &[u8]),
        text: &Text,
    ) -> Vec<Verdict> {
        if let Err(error) = self.confine() {
            log::error!("{letter}: {error}");
            self.undo();
            return vec![Verdict::Unusable; places.len()];
        }
        let all = std::mem::take(&mut self.places);
        let mut all: Vec<Option<Tray>> = all.into_iter().map(Some).collect();
        let mut verdicts = Vec::with_capacity(places.len());
        for number in places {
            let Some(mut tray) = all.get_mut(*number).and_then(Option::take) else {
                verdicts.push(Verdict::Unusable);
                continue;
            };
            let written = self.write_one(&mut tray, sender, text);
            verdicts.push(told(letter, &tray.name, written.err().as_ref()));
            self.places.push(tray);
        }
        verdicts
    }

    /// Writes the letter for one place, unless it was written for another one that has the same file, or can have it.
    fn write_one(&self, tray: &mut Tray, sender: &[u8], text: &Text) -> Result<(), Failure> {
        let State::Drafted(mut draft) = std::mem::replace(&mut tray.state, State::Nothing) else {
            let why = "the place was not tried".to_owned();
            return Err(Failure { verdict: Verdict::Unusable, why });
        };
        let is_same = |other: &&Tray| other.sender == tray.sender;
        let written = self.places.iter().filter(is_same).find_map(|other| match &other.state {
            State::Written(letter) => Some(letter),
            _ => None,
        });
        if let Some(written) = written {
            draft = match draft.as_written(written) {
                Ok(same) => {
                    tray.state = State::Written(same);
                    return Ok(());
                }
                Err(own) => own,
            };
            // What is wrong with the other mailbox is no trouble of this one, which has a draft.
            if let Ok(Some(linked)) = tray.maildir.link(written) {
                tray.state = State::Written(linked);
                return Ok(());
            }
        }
        let first = return_path(sender_at(tray.sender.as_deref(), sender));
        let copied = text.copy_behind(&first, &mut draft);
        copied.map_err(|source| write_error(&tray.maildir, &source))?;
        tray.state = State::Written(draft.sync()?);
        Ok(())
    }

    /// Makes the letter visible where it was written. Returns a verdict for each place of the last
    /// [`Store::write`].
    pub fn publish(&mut self, letter: &str) -> Vec<Verdict> {
        let mut written = Vec::new();
        for (number, tray) in self.places.iter_mut().enumerate() {
            match std::mem::replace(&mut tray.state, State::Nothing) {
                State::Written(synced) => written.push((number, synced)),
                other => tray.state = other,
            }
        }
        let (numbers, written): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        let mut verdicts = vec![Verdict::Unusable; self.places.len()];
        for (number, published) in numbers.into_iter().zip(Synced::publish_each(written)) {
            let (Some(tray), Some(verdict)) =
                (self.places.get_mut(number), verdicts.get_mut(number))
            else {
                continue;
            };
            let failure = match published {
                Ok(letter) => {
                    self.safe.add(&letter);
                    tray.state = State::Visible(letter);
                    None
                }
                Err(error) => Some(Failure::from(error)),
            };
            *verdict = told(letter, &tray.name, failure.as_ref());
        }
        verdicts
    }

    /// Takes the letter back, because it could not be delivered to all, and forgets the places.
    pub fn undo(&mut self) {
        for tray in std::mem::take(&mut self.places) {
            if let State::Visible(letter) = tray.state
                && let Err(error) = letter.retract()
            {
                log::error!("{}: a refused letter could not be removed: {error}", tray.name);
            }
        }
    }

    /// Leaves the letter where it is, and forgets the places.
    pub fn keep(&mut self) {
        for tray in std::mem::take(&mut self.places) {
            if !self.is_swept {
                let count = tray.maildir.sweep();
                if count > 0 {
                    log::info!("{}: removed {count} interrupted deliveries from tmp", tray.name);
                }
            }
        }
        self.is_swept = true;
    }
}

/// Returns the sender of a letter at a place: a letter from `<>` keeps that.
#[must_use]
pub fn sender_at<'a>(at_place: Option<&'a str>, sender: &'a [u8]) -> &'a [u8] {
    match at_place {
        Some(other) if !sender.is_empty() => other.as_bytes(),
        _ => sender,
    }
}

fn write_error(maildir: &Maildir, source: &io::Error) -> Failure {
    let why = format!("write to {}: {}", maildir.path().display(), forknet::reason(source));
    Failure { verdict: verdict(mailstore::is_full(source)), why }
}

/// Returns the verdict, and logs why it is none to accept.
fn told(letter: &str, name: &str, failure: Option<&Failure>) -> Verdict {
    match failure {
        None => Verdict::Accepted,
        Some(Failure { verdict, why }) => {
            log::warn!("{letter}: {name}: {why}");
            *verdict
        }
    }
}
