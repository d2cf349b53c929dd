//! The life of a process that has the rights of one user: it does what the process orders that delivers.

use std::os::fd::OwnedFd;
use std::time::Duration;

use accounts::Owner;
use forknet::{Line, become_member, reason};

use crate::delivery::lmtp::Lmtp;
use crate::delivery::messages::Messages;
use crate::delivery::order::{
    Attempt, KEEP, PUBLISH, Place, STORE, TRY, Tried, UNDO, WRITE, Writing,
};
use crate::delivery::program::Programs;
use crate::delivery::store::Store;
use crate::delivery::terminal::Terminal;
use crate::delivery::text::Text;
use crate::options::Config;
use crate::protocol::question::Verdict;

/// Longest wait for the next order, which ends with the process that gives it.
const ORDER_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Exit codes.
const ENDED: i32 = 0;
const FAILED: i32 = 1;
/// The answer to [`UNDO`].
pub const UNDONE: &[u8] = b"+";

/// What a process of a user's may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Use its Maildirs, and nothing else.
    Files,
    /// Run commands, and append to files.
    Programs,
    /// Append to its mboxes in a folder of root's, such as /var/mail, with the group that may make a lock there. It runs
    /// no command, which would have that group too, and with it the mail of others.
    Spools,
    /// Write to a terminal, and nothing else.
    Terminals,
    /// Talk to a server of LMTP.
    Lmtp,
}

enum Places<'a> {
    Files(Store<'a>),
    Programs(Programs<'a>),
    Spools(Programs<'a>),
    Terminals(Messages<'a>),
    Lmtp(Box<Lmtp<'a>>),
}

impl<'a> Places<'a> {
    fn new(
        config: &'a Config,
        (kind, owner): (Kind, Owner),
        about: &'a str,
        terminal: Option<Terminal>,
    ) -> Places<'a> {
        match kind {
            Kind::Files => Places::Files(Store::new(config, owner)),
            Kind::Programs => Places::Programs(Programs::new(config, owner.uid, about)),
            Kind::Spools => Places::Spools(Programs::new(config, owner.uid, about)),
            Kind::Terminals => Places::Terminals(Messages::new(config, about, terminal)),
            Kind::Lmtp => Places::Lmtp(Box::new(Lmtp::new(config, about))),
        }
    }

    fn attempt(&mut self, attempt: &Attempt) -> Tried {
        match self {
            Places::Files(store) => store.attempt(attempt),
            Places::Programs(programs) => programs.attempt(attempt),
            Places::Spools(programs) => match attempt.place {
                Place::Mailbox { .. } => programs.attempt(attempt),
                _ => Tried::Verdict(Verdict::Unusable),
            },
            Places::Terminals(messages) => messages.attempt(attempt),
            Places::Lmtp(lmtp) => lmtp.attempt(attempt),
        }
    }

    fn write(&mut self, (letter, writing): (&str, &Writing<'_>), text: Text) -> Vec<Verdict> {
        let (places, sender) = (&writing.places, writing.sender);
        match self {
            Places::Files(store) => store.write(places, (letter, sender), &text),
            Places::Programs(programs) | Places::Spools(programs) => {
                programs.write(places, sender, text)
            }
            Places::Terminals(messages) => messages.write(places, sender, &text),
            Places::Lmtp(lmtp) => lmtp.write(places, sender, text),
        }
    }

    fn publish(&mut self, letter: &str) -> Vec<Verdict> {
        match self {
            Places::Files(store) => store.publish(letter),
            Places::Programs(programs) | Places::Spools(programs) => programs.publish(letter),
            Places::Terminals(messages) => messages.publish(letter),
            Places::Lmtp(lmtp) => lmtp.publish(),
        }
    }

    fn undo(&mut self) {
        match self {
            Places::Files(store) => store.undo(),
            Places::Programs(programs) | Places::Spools(programs) => programs.forget(),
            Places::Terminals(messages) => messages.forget(),
            Places::Lmtp(lmtp) => lmtp.forget(),
        }
    }

    fn keep(&mut self) {
        match self {
            Places::Files(store) => store.keep(),
            Places::Programs(programs) | Places::Spools(programs) => programs.forget(),
            Places::Terminals(messages) => messages.forget(),
            Places::Lmtp(lmtp) => lmtp.forget(),
        }
    }
}

/// Becomes the owner for good, tries the first place, and follows orders. Returns the exit code.
pub fn live(config: &Config, (kind, owner): (Kind, Owner), line: &Line, first: &Attempt) -> i32 {
    let terminal = Messages::find(config, first);
    if let Err(why) = enter(config, (kind, owner), first) {
        log::warn!("{}: {why}", first.client);
        return refuse(line);
    }
    let mut places = Places::new(config, (kind, owner), &first.client, terminal);
    let mut answer = Some(places.attempt(first).encode());
    let (mut client, mut letter, mut is_kept) = (first.client.clone(), first.client.clone(), false);
    loop {
        if answer.is_some_and(|answer| line.send_message(&answer).is_err()) {
            break;
        }
        if std::mem::take(&mut is_kept) {
            places.keep();
        }
        let (order, file) = match line.receive_message(ORDER_WAIT) {
            Ok(Some(order)) => order,
            Ok(None) => break,
            // The order that was lost may have been to keep the letter: the client then has its 250.
            Err(error) => {
                log::warn!("{letter}: an order: {}", reason(&error));
                places.keep();
                return FAILED;
            }
        };
        answer = match order.first() {
            Some(&TRY) => attempt(&mut places, &order, &mut client),
            Some(&WRITE | &STORE) => Writing::decode(&order).and_then(|writing| {
                letter = format!("{client}: letter {}", writing.id.escape_ascii());
                let verdicts = write(&mut places, &letter, &writing, file)?;
                is_kept = writing.is_all;
                Some(Verdict::encode_all(&verdicts))
            }),
            Some(&PUBLISH) => Some(Verdict::encode_all(&places.publish(&letter))),
            Some(&UNDO) => {
                places.undo();
                Some(UNDONE.to_vec())
            }
            Some(&KEEP) => {
                places.keep();
                None
            }
            _ => None,
        };
        if answer.is_none() && order != [KEEP] {
            log::error!("{client}: an order that is none");
            break;
        }
    }
    places.undo();
    ENDED
}

/// Tries another place, which may be another client's; `None` for what is no order.
fn attempt(places: &mut Places<'_>, order: &[u8], client: &mut String) -> Option<Vec<u8>> {
    let attempt = Attempt::decode(order)?;
    client.clone_from(&attempt.client);
    Some(places.attempt(&attempt).encode())
}

/// Says that the first place cannot be used. Returns the exit code.
fn refuse(line: &Line) -> i32 {
    let answer = Tried::Verdict(Verdict::Unusable).encode();
    let _ = line.send_message(&answer); // else the end is read
    FAILED
}

/// Becomes the owner for good; for an mbox in a folder of root's with the group that may make files there.
fn enter(config: &Config, (kind, owner): (Kind, Owner), first: &Attempt) -> Result<(), String> {
    let group = match &first.place {
        Place::Mailbox { name, home, .. } if kind == Kind::Spools => {
            let path = config.mail.mail.path(name, home).map_err(|error| error.to_string())?;
            config.mail.spool_group(&path).map_err(|trouble| trouble.why)?
        }
        _ => None,
    };
    become_member(owner.uid, owner.gid, group).map_err(|error| error.to_string())
}

/// Writes a letter, whose text is in the order or in a file, and makes it visible where it goes nowhere else; `None` if the
/// file cannot be read.
fn write(
    places: &mut Places<'_>,
    letter: &str,
    writing: &Writing<'_>,
    file: Option<OwnedFd>,
) -> Option<Vec<Verdict>> {
    let text = match file {
        Some(file) => Text::of_file(file.into()).ok()?,
        None => Text::Memory(writing.text.to_vec()),
    };
    let mut verdicts = places.write((letter, writing), text);
    if writing.is_all {
        for (known, now) in verdicts.iter_mut().zip(places.publish(letter)) {
            if *known == Verdict::Accepted {
                *known = now;
            }
        }
    }
    Some(verdicts)
}
