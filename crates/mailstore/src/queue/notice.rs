//! Notifications about a letter of the queue: each is put in once, whichever process is killed when.
//!
//! One has the letter's name, a dot and a number, and lies in `tmp`, on the disk, before the letter's states say that it is under
//! way. From then on it is there until it is put in, so that the next process knows by its place what is left to do.

use std::ffi::{OsStr, OsString};

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Error, Result};
use crate::queue::draft::{QueueDraft, QueuedDraft, rename};
use crate::queue::envelope::QueueEnvelope;
use crate::queue::parts::NOTICE_DOT;
use crate::queue::store::Queue;

/// Returns the name of a notification.
#[must_use]
fn notice_name(letter: &OsStr, number: u64) -> OsString {
    let mut name = letter.to_owned();
    name.push(format!("{}{number}", char::from(NOTICE_DOT)));
    name
}

impl Queue {
    /// Begins the notification of this number about a letter that is locked. One that a killed process has begun is removed.
    ///
    /// # Errors
    /// As [`Queue::draft`].
    pub fn draft_notice(
        &self,
        letter: &OsStr,
        number: u64,
        envelope: &QueueEnvelope,
    ) -> Result<QueueDraft> {
        let (name, tmp) = (notice_name(letter, number), self.parts.tmp()?);
        match unlinkat(tmp, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => QueueDraft::named(&self.parts, name, envelope),
            Err(errno) => Err(Error::io("unlink", &tmp.path().join(name))(errno)),
        }
    }

    /// Leaves notifications in `tmp`, on the disk when this returns, until [`Queue::publish_notice`].
    ///
    /// # Errors
    /// As fsync(2); those that are not under way yet are begun again.
    pub fn keep_notices(&self, drafts: Vec<QueuedDraft>) -> Result<()> {
        drafts.into_iter().for_each(|draft| drop(draft.keep()));
        self.parts.tmp()?.sync()
    }

    /// Puts a notification into the queue, if that was not done before; then it is on the disk there.
    ///
    /// # Errors
    /// [`Error::Io`]. It is to be tried again.
    pub fn publish_notice(&self, letter: &OsStr, number: u64) -> Result<()> {
        let (name, letters) = (notice_name(letter, number), &self.parts.letters);
        match rename(&self.parts, &name)? {
            Ok(()) | Err(Errno::ENOENT | Errno::EEXIST) => {}
            Err(errno) => return Err(Error::io("rename", &letters.path().join(name))(errno)),
        }
        letters.sync()?;
        // It is there still where it was linked.
        let _ = unlinkat(self.parts.tmp()?, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        Ok(())
    }
}
