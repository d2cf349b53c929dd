//! Delivery into a Maildir.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use forknet::Error;
use mailstore::{Draft, Maildir, Synced};

use super::delivery::{Delivery, Told};
use crate::client::options::shown;
use crate::client::status::{Failure, Result, Status};

/// Letters are fsynced and made visible in batches, with one fsync of the folder.
pub(crate) struct MaildirDelivery {
    maildir: Maildir,
    draft: Option<Draft>,
    waiting: Vec<Draft>,
    synced: Vec<Synced>,
}

impl MaildirDelivery {
    /// Opens the Maildir, or makes it.
    pub(crate) fn open(path: &Path) -> Result<MaildirDelivery> {
        let maildir = Maildir::create(path).map_err(Failure::store(Status::CannotCreate))?;
        Ok(MaildirDelivery { maildir, draft: None, waiting: Vec::new(), synced: Vec::new() })
    }
}

impl Delivery for MaildirDelivery {
    fn begin(&mut self) -> Result<()> {
        let draft = self.maildir.draft().map_err(Failure::store(Status::CannotCreate))?;
        self.draft = Some(draft);
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        let Some(draft) = &mut self.draft else { return Ok(()) };
        let what = || format!("write to {}", shown(self.maildir.path()));
        draft.write_all(piece).map_err(Error::io(what())).map_err(Failure::because(Status::Io))
    }

    fn end(&mut self) -> Result<()> {
        if let Some(draft) = self.draft.take() {
            draft.start_sync();
            self.waiting.push(draft);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<Vec<OsString>> {
        let waiting = std::mem::take(&mut self.waiting);
        self.synced = Draft::sync_all(waiting).map_err(Failure::store(Status::Io))?;
        Ok(self.synced.iter().map(Synced::name).collect())
    }

    fn commit(&mut self, told: Told<'_>) -> Result<()> {
        let synced = std::mem::take(&mut self.synced);
        let published = Synced::publish_all(synced).map_err(Failure::store(Status::Io))?;
        (0..published.len()).try_for_each(|number| told(number, Ok(())))
    }
}
