//! Delivery into an mbox.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mailstore::{Folder, append_to_mbox};

use super::delivery::{Delivery, Told};
use super::spool::Spool;
use crate::client::status::{Failure, Result, Status};

/// Longest wait for the locks of the mbox.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Letters are appended in batches, with one fsync.
pub(crate) struct MboxDelivery {
    path: PathBuf,
    spool: Option<Spool>,
    waiting: Vec<File>,
}

impl MboxDelivery {
    pub(crate) fn new(path: &Path) -> MboxDelivery {
        MboxDelivery { path: path.to_owned(), spool: None, waiting: Vec::new() }
    }
}

impl Delivery for MboxDelivery {
    fn begin(&mut self) -> Result<()> {
        self.spool = Some(Spool::new()?);
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.spool.as_mut().map_or(Ok(()), |spool| spool.write(piece))
    }

    fn end(&mut self) -> Result<()> {
        if let Some(spool) = self.spool.take() {
            self.waiting.push(spool.into_file()?);
        }
        Ok(())
    }

    fn commit(&mut self, told: Told<'_>) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let failed = Failure::store(Status::CannotCreate);
        let name = self.path.file_name().unwrap_or_default();
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => Folder::open(folder),
            _ => Folder::open(Path::new(".")),
        };
        folder
            .and_then(|it| {
                append_to_mbox(&it, name, from_line().as_bytes(), &mut waiting, LOCK_TIMEOUT)
            })
            .map_err(failed)?;
        (0..waiting.len()).try_for_each(|number| told(number, Ok(())))
    }
}

/// The line that begins a letter: who has sent it is in the letter, if anywhere; the time is now, in UTC.
fn from_line() -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    format!("From MAILER-DAEMON {}", now.strftime("%a %b %e %H:%M:%S %Y"))
}
