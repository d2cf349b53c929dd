//! The process that writes to a user's terminals, with that user's rights: after the first terminal is open, it has no
//! other file.

use std::fs::File;

use forknet::{confine_to, reason};

use crate::delivery::order::{Attempt, Place, Tried};
use crate::delivery::store::sender_at;
use crate::delivery::terminal::{MAX_TEXT, Terminal, message};
use crate::delivery::text::Text;
use crate::options::Config;
use crate::protocol::question::Verdict;

/// The terminal of one user.
pub struct Messages<'a> {
    config: &'a Config,
    /// The client, for the log.
    about: &'a str,
    /// The terminal that was opened with root's rights.
    found: Option<Terminal>,
    /// It has tried one: another one may have to be found with other rights.
    is_used: bool,
    opened: Option<Opened>,
    /// The text for it.
    message: Option<Vec<u8>>,
}

struct Opened {
    terminal: Terminal,
    sender: Option<String>,
    /// The letter goes to the mailbox too, so what becomes of the message decides nothing.
    is_extra: bool,
}

impl<'a> Messages<'a> {
    /// Begins with none, and the terminal of the first attempt where it was found before. This process has the user's
    /// rights already.
    #[must_use]
    pub fn new(config: &'a Config, about: &'a str, found: Option<Terminal>) -> Messages<'a> {
        Messages { config, about, found, is_used: false, opened: None, message: None }
    }

    /// Opens the terminal of the first attempt in the folder of `--terminal DIR`, before this process gives up root's
    /// rights.
    #[must_use]
    pub fn find(config: &Config, attempt: &Attempt) -> Option<Terminal> {
        match (&attempt.place, &config.terminal) {
            (Place::Terminal { name, .. }, Some(terminals)) => {
                Terminal::open_for_root(terminals, name)
            }
            _ => None,
        }
    }

    /// Opens a terminal, and gives up all other files for good.
    pub fn attempt(&mut self, attempt: &Attempt) -> Tried {
        let (Place::Terminal { name, is_extra }, Some(terminals)) =
            (&attempt.place, &self.config.terminal)
        else {
            return Tried::Verdict(Verdict::Unusable);
        };
        if std::mem::replace(&mut self.is_used, true) {
            return Tried::NotHere;
        }
        let terminal = match self.found.take().map_or_else(|| Terminal::open(terminals, name), Ok) {
            Ok(terminal) => terminal,
            Err(why) => {
                log::info!("{}: terminal of '{}': {why}", self.about, name.escape_ascii());
                return Tried::Verdict(Verdict::NoTerminal);
            }
        };
        if let Err(error) = confine_to(std::iter::empty::<&File>(), false) {
            log::warn!("{}: terminal of '{}': {error}", self.about, name.escape_ascii());
            return Tried::Verdict(Verdict::Unusable);
        }
        self.opened =
            Some(Opened { terminal, sender: attempt.sender.clone(), is_extra: *is_extra });
        Tried::Verdict(Verdict::Accepted)
    }

    /// Keeps a letter for the terminal, which shows it at [`Messages::publish`], because that cannot be taken back.
    pub fn write(&mut self, places: &[usize], sender: &[u8], text: &Text) -> Vec<Verdict> {
        let verdict = self.prepare(sender, text);
        vec![verdict; places.len()]
    }

    fn prepare(&mut self, sender: &[u8], text: &Text) -> Verdict {
        let Some(opened) = &self.opened else { return Verdict::Unusable };
        let mut letter = Vec::new();
        if let Err(error) = text.copy_behind(b"", &mut letter) {
            log::warn!("{}: {}", self.about, reason(&error));
            return Verdict::Unusable;
        }
        if letter.len() > MAX_TEXT && !opened.is_extra {
            return Verdict::Rejected;
        }
        letter.truncate(MAX_TEXT);
        let sender = String::from_utf8_lossy(sender_at(opened.sender.as_deref(), sender));
        self.message = Some(message(&self.config.hostname, &sender, &letter));
        Verdict::Accepted
    }

    /// Writes the message; returns the verdict.
    pub fn publish(&mut self, letter: &str) -> Vec<Verdict> {
        let (Some(opened), Some(message)) = (&mut self.opened, self.message.take()) else {
            return vec![Verdict::Unusable];
        };
        match opened.terminal.write(&message) {
            Ok(()) => vec![Verdict::Accepted],
            Err(error) => {
                log::warn!("{letter}: terminal: {}", reason(&error));
                vec![if opened.is_extra { Verdict::Accepted } else { Verdict::NoTerminal }]
            }
        }
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        (self.opened, self.message) = (None, None);
    }
}
