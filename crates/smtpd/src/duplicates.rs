//! Letters that have come to some of their places and not to others: which places have them, so that none gets a
//! letter twice when the client sends it again (RFC 5321 §4.2.5 has one reply for all recipients).
//!
//! A file in the folder of `--spool`, of the user who writes it and no other; it is there while there is something in it, and
//! replaced by rename(2) under a lock. Each line is a place that has a letter: when it got it, in seconds since 1970, and a
//! hash of both. What the file does not know is delivered again, because two copies are better than none.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use accounts::hex;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;

/// Most places that are known, a number; beyond it the oldest are forgotten.
const MAX_PLACES: usize = 16 * 1024;
/// Longest time that a place is known, six days in seconds: clients give up after four or five (RFC 5321 §4.5.4.1).
const MAX_AGE: u64 = 6 * 24 * 60 * 60;
/// Largest file that is read, in bytes: a line has less than 64.
const MAX_FILE: u64 = 64 * MAX_PLACES as u64;
/// Bytes of a hash.
pub const KEY_BYTES: usize = 16;
/// Mode of the file: only its owner has access.
const FILE_MODE: u32 = 0o600;
/// Rights of group and others, bits of a mode.
const OTHERS: u32 = 0o077;

/// A hash of a letter and a place.
pub type Key = [u8; KEY_BYTES];

/// The places that have letters which come again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    path: PathBuf,
}

/// What the file says. It is read for each letter, and of most letters no place is known: so it stays the text that it is.
#[derive(Debug, Default)]
pub struct Known {
    text: String,
    /// Seconds since 1970.
    now: u64,
}

/// Places by the hashes as they are written, and since when.
type Places = BTreeMap<String, u64>;

impl Duplicates {
    /// Returns those whose file is in this folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Duplicates {
        Duplicates { path: folder.join(format!("smtpd.again.{}", geteuid())) }
    }

    /// Reads the file; no place is known where there is none, or one that is not ours.
    #[must_use]
    pub fn read(&self) -> Known {
        match self.text() {
            Ok(text) => Known::of(text, now()),
            Err(error) if error.kind() == ErrorKind::NotFound => Known::default(),
            Err(error) => {
                log::warn!("{}: {}", self.path.display(), forknet::reason(&error));
                Known::default()
            }
        }
    }

    /// Notes places that have a letter which will come again, and those that need not be known any more.
    ///
    /// # Errors
    /// The file cannot be written. If it cannot be, it is removed, so that nothing is known that is not so.
    pub fn note(&self, has: &[Key], done: &[Key]) -> io::Result<()> {
        if has.is_empty() && done.is_empty() {
            return Ok(());
        }
        let written = self.lock().and_then(|_lock| self.replace(has, done));
        if written.is_err() && !done.is_empty() {
            fs::remove_file(&self.path)?;
        }
        written
    }

    fn replace(&self, has: &[Key], done: &[Key]) -> io::Result<()> {
        let (mut known, now) = (self.read().places(), now());
        known.extend(has.iter().map(|key| (hex(key), now)));
        for key in done {
            known.remove(&hex(key));
        }
        let text = text(&known);
        if text.is_empty() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => return fs::remove_file(self.beside("lock")),
            }
        }
        // The lock makes this name ours.
        let draft = self.beside("new");
        let _ = fs::remove_file(&draft); // of one that was killed
        let mut file = new_file(&draft, true)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, &self.path)
    }

    fn text(&self) -> io::Result<String> {
        let flags = O_NOFOLLOW | O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let file = own(file)?;
        let bytes = file.metadata()?.len().min(MAX_FILE);
        let mut text = String::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(MAX_FILE).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Locks the file, by another one beside it, which is removed with it.
    fn lock(&self) -> io::Result<Flock<OwnedFd>> {
        let path = self.beside("lock");
        loop {
            let file = own(new_file(&path, false)?)?;
            let inode = file.metadata()?.ino();
            let locked = Flock::lock(OwnedFd::from(file), FlockArg::LockExclusive);
            let locked = locked.map_err(|(_, errno)| io::Error::from(errno))?;
            match path.symlink_metadata() {
                Ok(there) if there.ino() == inode => return Ok(locked),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {} // its holder has removed it
            }
        }
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.path.clone();
        path.as_mut_os_string().push(format!(".{end}"));
        path
    }
}

/// Makes a file, or opens the one that is there.
fn new_file(path: &Path, must_be_new: bool) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.write(true).mode(FILE_MODE).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    if must_be_new {
        how.create_new(true)
    } else {
        how.create(true).truncate(false)
    };
    how.open(path)
}

/// Checks that a file is this user's alone: every local user can put one into /var/tmp. One that has no name any more was
/// removed or replaced by its user between open(2) and this.
fn own(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    let is_own = found.uid() == geteuid().as_raw() && found.mode() & OTHERS == 0;
    match found.is_file() && is_own && found.nlink() <= 1 {
        true => Ok(file),
        false => Err(io::Error::other("is not a file of this user's alone")),
    }
}

impl Known {
    /// Takes the lines of a file as they are; what is no line of ours counts for nothing.
    #[must_use]
    pub fn of(text: String, now: u64) -> Known {
        Known { text, now }
    }

    /// Returns whether no place is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines().next().is_none()
    }

    /// Returns whether a place has a letter.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        let key = hex(key);
        self.lines().any(|(known, _)| known == key)
    }

    /// Returns the places, and since when they are known.
    fn places(&self) -> Places {
        self.lines().map(|(key, since)| (key.to_owned(), since)).collect()
    }

    /// Returns the lines again, of more places than there is room for the youngest.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.places())
    }

    fn lines(&self) -> impl Iterator<Item = (&str, u64)> {
        self.text.lines().filter_map(|line| {
            let (since, key) = line.split_once(' ')?;
            let since: u64 = since.parse().ok()?;
            let is_key = key.len() == 2 * KEY_BYTES && key.bytes().all(|b| b.is_ascii_hexdigit());
            let is_young = self.now.saturating_sub(since) < MAX_AGE;
            (is_key && is_young).then_some((key, since))
        })
    }
}

/// Returns the lines of a file, of more than there is room for the youngest.
fn text(places: &Places) -> String {
    let mut all: Vec<(&u64, &String)> = places.iter().map(|(key, since)| (since, key)).collect();
    all.sort();
    let young = all.iter().skip(all.len().saturating_sub(MAX_PLACES));
    young.map(|(since, key)| format!("{since} {key}\n")).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{TempDir, names};

    fn key(n: usize) -> Key {
        (n as u128).to_be_bytes()
    }

    #[test]
    fn what_is_noted_is_known_to_all_until_it_is_done_and_the_file_is_gone_then() {
        let dir = TempDir::new();
        let (mine, other) = (Duplicates::in_folder(dir.path()), Duplicates::in_folder(dir.path()));
        mine.note(&[], &[]).unwrap();
        assert!(mine.read().is_empty() && names(dir.path()).is_empty());
        mine.note(&[key(1), key(2)], &[]).unwrap();
        other.note(&[key(3)], &[key(1), key(9)]).unwrap();
        for known in [mine.read(), other.read()] {
            assert!(!known.has(&key(1)) && known.has(&key(2)) && known.has(&key(3)));
        }
        mine.note(&[], &[key(2), key(3)]).unwrap();
        assert!(other.read().is_empty() && !mine.path.exists());
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn what_many_note_at_once_is_all_known() {
        let dir = TempDir::new();
        let table = Duplicates::in_folder(dir.path());
        let each = |n: usize| (0..20).map(|m| key(100 * n + m)).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            for n in 1..5 {
                let (table, keys) = (&table, each(n));
                scope.spawn(move || {
                    for key in keys {
                        table.note(&[key], &[]).unwrap();
                        table.note(&[], &[key]).unwrap();
                        table.note(&[key], &[]).unwrap();
                    }
                });
            }
        });
        let known = table.read();
        assert!((1..5).flat_map(each).all(|key| known.has(&key)));
    }

    #[test]
    fn a_file_that_another_user_may_write_is_neither_believed_nor_written() {
        let dir = TempDir::new();
        let own = Duplicates::in_folder(dir.path());
        own.note(&[key(1)], &[]).unwrap();
        let mode = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(&own.path, mode).unwrap();
        };
        mode(0o666);
        assert!(own.read().is_empty());
        mode(0o600);
        assert!(own.read().has(&key(1)));
        let away = dir.path().join("away");
        fs::rename(&own.path, &away).unwrap();
        std::os::unix::fs::symlink(&away, &own.path).unwrap();
        assert!(own.read().is_empty());
        fs::remove_file(&own.path).unwrap();
        let lock = own.beside("lock");
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(&away, &lock).unwrap();
        assert!(own.note(&[key(2)], &[]).is_err());
        let nowhere = Duplicates::in_folder(Path::new("/no/such/folder"));
        assert!(nowhere.note(&[key(1)], &[]).is_err() && nowhere.read().is_empty());
    }

    #[test]
    fn what_is_old_odd_or_too_much_is_forgotten() {
        let now = 10 * MAX_AGE;
        let good = hex(&key(1));
        let old = now - MAX_AGE;
        let text = format!(
            "{now} {good}\n{old} {}\n{now} xyz\nx {good}\n\n{now}{good}\n{} {}",
            hex(&key(2)),
            now + 5,
            hex(&key(3))
        );
        let known = Known::of(text, now);
        assert!(known.has(&key(1)) && !known.has(&key(2)) && known.has(&key(3)));
        assert_eq!(known.places().len(), 2);
        assert!(Known::of(format!("{old} {good}\n"), now).is_empty());
        let many: String = (0..MAX_PLACES + 10)
            .map(|n| format!("{} {}\n", now + n as u64, hex(&key(n))))
            .collect();
        let text = Known::of(many, now).text();
        assert!(text.len() as u64 <= MAX_FILE);
        let known = Known::of(text, now);
        assert_eq!(known.places().len(), MAX_PLACES);
        assert!(!known.has(&key(9)) && known.has(&key(10)));
    }
}
