//! Local delivery: to the Maildirs of all recipients or of none.

use std::io::{self, Read, Write};

use mailstore::{AsOwner, Draft, Maildir, Published, Synced};

use crate::delivery::error::Error;
use crate::protocol::envelope::Recipient;

/// Size in bytes of a write when a letter is copied to another mailbox.
const COPY: usize = 64 * 1024;

/// The delivery of one letter. The letter is written to `tmp` of the first recipient's Maildir, and
/// removed on drop. A killed process leaves the file behind; readers of a Maildir remove it after
/// 36 hours.
#[derive(Debug)]
pub struct LocalDelivery<'a> {
    recipients: &'a [Recipient],
    draft: Draft,
}

impl<'a> LocalDelivery<'a> {
    /// Creates the letter, and the Maildir if it is missing.
    ///
    /// # Errors
    /// The Maildir cannot be created.
    pub fn create(recipients: &'a [Recipient]) -> Result<LocalDelivery<'a>, Error> {
        let first = recipients.first().ok_or_else(Error::no_recipient)?;
        let _owner = AsOwner::switch_to(&first.maildir)?;
        let draft = Maildir::create(&first.maildir)?.draft()?;
        Ok(LocalDelivery { recipients, draft })
    }

    /// Writes a piece of the letter. Lines end in LF.
    ///
    /// # Errors
    /// Errors of write(2).
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.draft.write_all(bytes);
        written.map_err(|source| match self.recipients.first() {
            Some(first) => Error::mailbox("write to", first, source),
            None => Error::Io { what: "write".into(), source },
        })
    }

    /// Delivers the complete letter in two phases: first fsyncs it for every recipient, then makes
    /// it visible to every recipient. If a step fails for one recipient, no recipient gets the
    /// letter.
    ///
    /// # Errors
    /// The step that failed. Nothing of the letter is visible then.
    pub fn deliver(self) -> Result<(), Error> {
        let LocalDelivery { recipients, draft } = self;
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

/// Copies the first recipient's letter for another one. Reads and writes with the respective
/// owner's rights, so that a file with which the first owner replaces the draft is read with that
/// owner's rights only.
fn copy(letter: &Synced, first: &Recipient, other: &Recipient) -> Result<Synced, Error> {
    let source = {
        let _owner = AsOwner::switch_to(&first.maildir)?;
        letter.open()?
    };
    let _owner = AsOwner::switch_to(&other.maildir)?;
    let mut copy = Maildir::create(&other.maildir)?.draft()?;
    let mut out = io::BufWriter::with_capacity(COPY, &mut copy);
    let copied = io::copy(&mut source.take(letter.bytes()), &mut out)
        .and_then(|copied| out.flush().map(|()| copied))
        .map_err(|source| Error::mailbox("write to", other, source))?;
    drop(out);
    if copied != letter.bytes() {
        return Err(Error::mailbox("read from", first, io::ErrorKind::UnexpectedEof));
    }
    Ok(copy.sync()?)
}

fn publish(letter: Synced, recipient: &Recipient) -> Result<Published, Error> {
    let _owner = AsOwner::switch_to(&recipient.maildir)?;
    Ok(letter.publish()?)
}

fn retract((letter, recipient): (Published, &Recipient)) {
    let retracted = AsOwner::switch_to(&recipient.maildir).and_then(|_owner| letter.retract());
    if let Err(error) = retracted {
        log::error!(
            "a refused letter could not be removed from the mailbox of {}: {error}",
            recipient.user
        );
    }
}
