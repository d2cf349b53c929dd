//! The POP3 maildrop (RFC 1939 §4, §5): the letters of a mailbox as they were when the session began,
//! numbered in the order of their arrival, under an exclusive lock.
//!
//! There is a file for each kind of mailbox. What a session asks for is the same: how many letters, their
//! sizes and ids, the text of one, and at the end the removal of some.

// The order of the modules; each imports from its left only: letter_text removal | maildir mbox | (this file)

mod letter_text;
mod maildir;
mod mbox;
mod removal;

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::mbox::index::MboxIds;
use maildir::MaildirDrop;
use mbox::MboxDrop;

pub use letter_text::LetterText;
pub use maildir::{MaildirOptions, UniqueIds};
pub use mbox::LockedMbox;
pub use removal::Removal;

/// A locked maildrop. Letters are numbered from 0. Dropping it releases the lock.
#[derive(Debug)]
pub struct Maildrop {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Maildir(Box<MaildirDrop>),
    Mbox(Box<MboxDrop>),
}

impl Maildrop {
    /// Returns the maildrop of a Maildir that does not exist yet: it is empty. The path is for messages.
    #[must_use]
    pub fn none(path: &Path) -> Maildrop {
        Maildrop { kind: Kind::Maildir(Box::new(MaildirDrop::none(path))) }
    }

    /// Locks and lists the maildrop in a Maildir, which is never opened by its name again. Letters are
    /// neither opened nor passed to stat(2).
    ///
    /// # Errors
    /// [`crate::Error::InUse`] while another session has the lock, [`crate::Error::Io`] if the maildrop cannot be
    /// read.
    pub fn open(maildir: &Folder, options: MaildirOptions) -> Result<Maildrop> {
        Ok(Maildrop { kind: Kind::Maildir(Box::new(MaildirDrop::open(maildir, options)?)) })
    }

    /// Returns the number of letters.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Maildir(drop) => drop.len(),
            Kind::Mbox(drop) => drop.len(),
        }
    }

    /// Returns whether it has no letters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the unique id of a letter (RFC 1939 §7, UIDL): 1 to 70 characters from 0x21 to
    /// 0x7E, the same in every session and with any flags.
    #[must_use]
    pub fn uid(&mut self, index: usize) -> Option<Vec<u8>> {
        match &mut self.kind {
            Kind::Maildir(drop) => drop.uid(index),
            Kind::Mbox(drop) => drop.uid(index),
        }
    }

    /// Returns the size of a letter with CRLF line ends (RFC 1939 §11), if it is known without
    /// reading the letter.
    #[must_use]
    pub fn known_size(&self, index: usize) -> Option<u64> {
        match &self.kind {
            Kind::Maildir(drop) => drop.known_size(index),
            Kind::Mbox(drop) => drop.size(index),
        }
    }

    /// Looks up the sizes that cost little.
    pub fn look_up_sizes(&mut self) {
        match &mut self.kind {
            Kind::Maildir(drop) => drop.look_up_sizes(),
            Kind::Mbox(_) => {}
        }
    }

    /// Returns the size of a letter with CRLF line ends, counted if it is not known.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the letter must be read and cannot be.
    pub fn size(&mut self, index: usize) -> Result<u64> {
        match &mut self.kind {
            Kind::Maildir(drop) => drop.size(index),
            Kind::Mbox(drop) => {
                drop.size(index).ok_or_else(|| Error::Refused("no such letter".into()))
            }
        }
    }

    /// Records the size of a letter that was read to its end. Returns whether it differs from the
    /// known size.
    pub fn correct_size(&mut self, index: usize, octets: u64) -> bool {
        match &mut self.kind {
            Kind::Maildir(drop) => drop.correct_size(index, octets),
            Kind::Mbox(drop) => drop.size(index).is_some_and(|known| known != octets),
        }
    }

    /// Opens a letter for reading.
    ///
    /// # Errors
    /// [`crate::Error::Io`], `No such file or directory` if another program removed it.
    pub fn read(&mut self, index: usize) -> Result<LetterText> {
        match &mut self.kind {
            Kind::Maildir(drop) => drop.read(index),
            Kind::Mbox(drop) => drop.read(index).map(LetterText::from),
        }
    }

    /// Removes as many of the letters as possible, and waits until that is on the disk. A letter that is gone
    /// already counts as removed.
    pub fn remove(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        match &mut self.kind {
            Kind::Maildir(drop) => drop.remove(indices),
            Kind::Mbox(drop) => drop.remove(indices),
        }
    }

    /// Removes what interrupted deliveries have left.
    pub fn sweep(&self) {
        match &self.kind {
            Kind::Maildir(drop) => drop.sweep(),
            Kind::Mbox(_) => {}
        }
    }
}

impl LockedMbox {
    /// Reads the mbox once, and gives its own locks back: letters can be delivered from then on.
    ///
    /// # Errors
    /// [`Error::Temporary`] if the file is no mbox; [`Error::Io`] if it cannot be read.
    pub fn read(self, ids: MboxIds) -> Result<Maildrop> {
        Ok(Maildrop { kind: Kind::Mbox(Box::new(MboxDrop::read_locked(self, ids)?)) })
    }
}
