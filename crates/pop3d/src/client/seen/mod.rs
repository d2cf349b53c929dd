//! The ids of stored messages, in a file for each account.
//!
//! A line `+ ID TIME` means that the message is stored, since when. Before a letter becomes visible in a
//! Maildir, a line `? ID NAME` with its file name is appended. If pop3c is killed between the two, the next
//! run looks for the file name in the Maildir. So a killed fetch never stores a message twice there. After a
//! power failure it may.

mod file;
mod place;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use forknet::Error;
use mailstore::{Maildir, durable_create_dir};
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::options::{Fetch, Options, shown};
use super::status::{Failure, Result, Status};
use file::{HEADER, Record, pending_line, stored_line};
use place::Place;

/// Mode of the files: only the owner has access.
const MODE: u32 = 0o600;

/// The unique ids of stored messages, and since when each is known, in seconds since 1970.
#[derive(Debug)]
pub(crate) struct Seen {
    place: Place,
    ids: HashMap<Vec<u8>, u64>,
    /// The file opened for appending, `None` before the first line.
    journal: Option<File>,
    /// Lines that are not in it yet.
    unwritten: Vec<u8>,
    /// Excludes other runs for the same account.
    _lock: Flock<File>,
}

impl Seen {
    /// Takes the lock of an account and reads its file. A missing file counts as empty; those of earlier
    /// versions are read in its place, and removed once the new one is there.
    ///
    /// # Errors
    /// [`Status::InUse`] while another run has the lock.
    pub(crate) fn open(options: &Options, fetch: &Fetch) -> Result<Seen> {
        let place = Place::of(options, fetch)?;
        durable_create_dir(&place.folder).map_err(Failure::store(Status::CannotCreate))?;
        let lock = lock(&place.lock)?;
        let mut seen =
            Seen { place, ids: HashMap::new(), journal: None, unwritten: Vec::new(), _lock: lock };
        let mut pending = HashMap::new();
        let is_there = seen.read(&seen.place.file.clone(), &mut pending)?;
        if is_there {
            seen.place.old.clear();
        }
        for old in seen.place.old.clone() {
            seen.read(&old, &mut pending)?;
        }
        seen.settle(pending)?;
        Ok(seen)
    }

    /// Reads the lines of a file; returns whether there is one.
    fn read(&mut self, path: &Path, pending: &mut HashMap<Vec<u8>, OsString>) -> Result<bool> {
        let records = file::read(path, now()).map_err(|error| failed(path, error))?;
        let is_there = records.is_some();
        for record in records.unwrap_or_default() {
            match record {
                Record::Stored(id, since) => {
                    pending.remove(&id);
                    self.ids.insert(id, since);
                }
                Record::Pending(id, name) => {
                    pending.insert(id, name);
                }
            }
        }
        Ok(is_there)
    }

    /// Looks for the letters that were about to become visible.
    fn settle(&mut self, pending: HashMap<Vec<u8>, OsString>) -> Result<()> {
        let Some(path) = self.place.maildir.as_ref().filter(|_| !pending.is_empty()) else {
            return Ok(());
        };
        let maildir = Maildir::create(path).map_err(Failure::store(Status::CannotCreate))?;
        for (id, name) in pending {
            if maildir.contains(&name).map_err(Failure::store(Status::Io))? {
                self.ids.insert(id, now());
            }
        }
        Ok(())
    }

    /// Records that letters are about to become visible under these names.
    pub(crate) fn storing<'i>(
        &mut self,
        letters: impl Iterator<Item = (&'i [u8], OsString)>,
    ) -> Result<()> {
        let lines: Vec<u8> =
            letters.flat_map(|(id, name)| pending_line(id, name.as_bytes())).collect();
        if lines.is_empty() { Ok(()) } else { self.append(&lines) }
    }

    /// Notes that a letter is stored, for [`Seen::flush`].
    pub(crate) fn stored(&mut self, id: &[u8]) {
        let since = self.insert(id);
        self.unwritten.extend_from_slice(&stored_line(id, since));
    }

    /// Records the letters that are stored.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.unwritten);
        if lines.is_empty() { Ok(()) } else { self.append(&lines) }
    }

    /// Adds an id, which [`Seen::save`] writes; returns since when it is known.
    pub(crate) fn insert(&mut self, id: &[u8]) -> u64 {
        *self.ids.entry(id.to_vec()).or_insert_with(now)
    }

    /// Appends lines to a complete file.
    fn append(&mut self, lines: &[u8]) -> Result<()> {
        let path = self.place.file.clone();
        let mut journal = match self.journal.take() {
            Some(journal) => journal,
            None => {
                self.save()?;
                let opened = OpenOptions::new().append(true).open(&path);
                opened.map_err(|error| failed(&path, error))?
            }
        };
        // After a failure there is no journal, so that the next line starts a new file.
        journal.write_all(lines).map_err(|error| failed(&path, error))?;
        self.journal = Some(journal);
        Ok(())
    }

    pub(crate) fn contains(&self, id: &[u8]) -> bool {
        self.ids.contains_key(id)
    }

    /// Returns how many seconds ago a message was stored; 0 where the clock was set back.
    pub(crate) fn age(&self, id: &[u8]) -> Option<u64> {
        self.ids.get(id).map(|since| now().saturating_sub(*since))
    }

    /// Drops ids that the server no longer has, so that the file does not grow without bound.
    pub(crate) fn keep_only(&mut self, on_server: &HashSet<&[u8]>) {
        self.ids.retain(|id, _| on_server.contains(id.as_slice()));
    }

    /// Replaces the file atomically and fsyncs it. Then removes those of earlier versions.
    pub(crate) fn save(&mut self) -> Result<()> {
        self.journal = None;
        self.unwritten.clear(); // all of `ids` is written
        let path = self.place.file.clone();
        let mut new = path.clone().into_os_string();
        new.push(".new");
        let new = Path::new(&new);
        let written = self.write(new).and_then(|()| fs::rename(new, &path));
        if written.is_err() {
            let _ = fs::remove_file(new); // best effort
        }
        written
            .and_then(|()| File::open(&self.place.folder)?.sync_all())
            .map_err(|error| failed(&path, error))?;
        for old in self.place.old.drain(..) {
            // Those of a Maildir stay for runs without the accounts file.
            if old.parent() == Some(&self.place.folder) {
                let _ = fs::remove_file(old); // its ids are in the new one
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut ids: Vec<(&Vec<u8>, &u64)> = self.ids.iter().collect();
        ids.sort_unstable();
        let mut text = HEADER.to_vec();
        for (id, since) in ids {
            text.extend_from_slice(&stored_line(id, *since));
        }
        // The lock makes it ours; one that a killed run has left is replaced.
        let flags = OFlag::O_NOFOLLOW.bits();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(MODE).custom_flags(flags);
        let mut file = options.open(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

/// Takes the lock, which ends with the process.
fn lock(path: &Path) -> Result<Flock<File>> {
    let flags = OFlag::O_NOFOLLOW.bits();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE).custom_flags(flags);
    let file = options.open(path).map_err(|error| failed(path, error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        let error = std::io::Error::from(errno);
        match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                let why = format!("{}: another pop3c fetches for this account", shown(path));
                Failure::new(Status::InUse, why)
            }
            _ => failed(path, error),
        }
    })
}

fn failed(path: &Path, error: std::io::Error) -> Failure {
    Failure::because(Status::Io)(Error::io(shown(path))(error))
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map(|since| since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
