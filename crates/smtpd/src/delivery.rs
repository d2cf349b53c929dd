//! Final delivery: into all Maildirs or into none.

use std::fmt;
use std::io::{self, Read, Write};

use mailstore::{AsOwner, Draft, Maildir, Published, Synced};
use nix::errno::Errno;

use crate::recipient::Recipient;
use crate::reply::Reply;

/// Octets that are copied at once from one mailbox to another.
const COPY: usize = 64 * 1024;

/// Why a letter could not be stored.
#[derive(Debug)]
pub enum Error {
    /// A mailbox could not be used.
    Store(mailstore::Error),
    /// The letter could not be written.
    Io {
        /// What was tried, such as `write to the mailbox of levy`.
        what: String,
        /// The reason.
        source: io::Error,
    },
}

impl Error {
    fn io(verb: &str, recipient: &Recipient, source: impl Into<io::Error>) -> Error {
        Error::Io {
            what: format!("{verb} the mailbox of {}", recipient.user),
            source: source.into(),
        }
    }

    /// What the client is told: that it may try again, for nothing was stored. 452 where the room
    /// is used up, 451 for everything else (RFC 5321 §4.2.3).
    #[must_use]
    pub fn reply(&self) -> Reply {
        let source = match self {
            Error::Store(mailstore::Error::Io { source, .. }) | Error::Io { source, .. } => source,
            Error::Store(_) => return Error::local(),
        };
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
                Reply::new(452, "4.3.1", "No room for the letter, try again later")
            }
            _ => Error::local(),
        }
    }

    /// A letter without a place to go to; never to be acknowledged.
    #[must_use]
    pub fn lost() -> Error {
        Error::Io { what: "deliver to nobody".into(), source: io::ErrorKind::InvalidInput.into() }
    }

    fn local() -> Reply {
        Reply::new(451, "4.3.0", "The letter could not be stored, try again later")
    }
}

impl From<mailstore::Error> for Error {
    fn from(error: mailstore::Error) -> Error {
        Error::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store(error) => error.fmt(f),
            Error::Io { what, source } => write!(f, "{what}: {}", forknet::reason(source)),
        }
    }
}

impl std::error::Error for Error {}

/// A letter on its way in: it lies in the `tmp` of the first recipient's Maildir, where nobody
/// looks, and goes when this is dropped. A process that is killed leaves that file behind; readers
/// of a Maildir clean `tmp` after 36 hours.
#[derive(Debug)]
pub struct Incoming<'a> {
    recipients: &'a [Recipient],
    draft: Draft,
}

impl<'a> Incoming<'a> {
    /// Opens the letter. A Maildir that is missing is made.
    ///
    /// # Errors
    /// The Maildir cannot be used.
    pub fn create(recipients: &'a [Recipient]) -> Result<Incoming<'a>, Error> {
        let first = recipients.first().ok_or_else(Error::lost)?;
        let _owner = AsOwner::of(&first.maildir)?;
        let draft = Maildir::create(&first.maildir)?.draft()?;
        Ok(Incoming { recipients, draft })
    }

    /// Writes a piece of the letter. Lines end in LF.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.draft.write_all(bytes);
        written.map_err(|source| match self.recipients.first() {
            Some(first) => Error::io("write to", first, source),
            None => Error::Io { what: "write".into(), source },
        })
    }

    /// The letter is whole: two phases, first it is made safe on the disk for everybody, then it
    /// is made visible to everybody. When a step fails for one, nobody has it.
    ///
    /// # Errors
    /// What failed; nothing of the letter is to be seen then.
    pub fn deliver(self) -> Result<(), Error> {
        let Incoming { recipients, draft } = self;
        let Some((first, others)) = recipients.split_first() else { return Ok(()) };
        let mut letters: Vec<(Synced, &Recipient)> = Vec::with_capacity(recipients.len());
        letters.push((draft.sync()?, first));
        for other in others {
            let copy = match letters.first() {
                Some((letter, _)) => copy(letter, first, other)?,
                None => continue,
            };
            letters.push((copy, other));
        }
        let mut done: Vec<(Published, &Recipient)> = Vec::with_capacity(recipients.len());
        for (letter, recipient) in letters {
            match publish(letter, recipient) {
                Ok(published) => done.push((published, recipient)),
                Err(error) => {
                    done.into_iter().for_each(retract);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// The letter of the first recipient once more, for another. Each side with the rights of its
/// owner: what the first puts in the place of his draft is read as he himself could read it.
fn copy(letter: &Synced, first: &Recipient, other: &Recipient) -> Result<Synced, Error> {
    let source = {
        let _owner = AsOwner::of(&first.maildir)?;
        letter.open()?
    };
    let _owner = AsOwner::of(&other.maildir)?;
    let mut copy = Maildir::create(&other.maildir)?.draft()?;
    let mut out = io::BufWriter::with_capacity(COPY, &mut copy);
    let copied = io::copy(&mut source.take(letter.bytes()), &mut out)
        .and_then(|copied| out.flush().map(|()| copied))
        .map_err(|source| Error::io("write to", other, source))?;
    drop(out);
    if copied != letter.bytes() {
        return Err(Error::io("read from", first, io::ErrorKind::UnexpectedEof));
    }
    Ok(copy.sync()?)
}

fn publish(letter: Synced, recipient: &Recipient) -> Result<Published, Error> {
    let _owner = AsOwner::of(&recipient.maildir)?;
    Ok(letter.publish()?)
}

fn retract((letter, recipient): (Published, &Recipient)) {
    let retracted = AsOwner::of(&recipient.maildir).and_then(|_owner| letter.retract());
    if let Err(error) = retracted {
        log::error!("a letter that was refused stays with {}: {error}", recipient.user);
    }
}
