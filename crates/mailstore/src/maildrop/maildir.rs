//! The maildrop of a Maildir.
//!
//! The lock is flock(2) on the Maildir folder itself. It leaves no file behind, it is the same
//! under every name of the folder, and the kernel releases it when the process ends. On a file system of
//! the network there is a second one, which other machines see ([`crate::network_lock`]).
//!
//! Other programs may change the folder during the session. They deliver letters, which this
//! session does not see. They move letters from `new` to `cur` and change flags, so a letter is
//! found again by the part of its name that never changes. They remove letters, which is an error
//! for those letters only.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use sys::getdents::{Entry, entries};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::file_name;
use crate::folder::Folder;
use crate::maildrop::removal::Removal;
use crate::network_lock;
use crate::sweep::sweep;
use crate::wire_size::WireSize;

/// open(2) flags for a folder.
const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// open(2) flags for a letter: does not follow a symbolic link, and does not wait for a FIFO's
/// other end.
const LETTER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// Time for which a letter missing in a listing counts as gone without another listing, because
/// thousands of removed letters must not cost a listing each.
const GONE_TTL: Duration = Duration::from_secs(1);

/// The two folders that hold letters. `new` is read first, so that a letter being moved to `cur` is
/// seen twice rather than missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subdir {
    Cur,
    New,
}

impl Subdir {
    const BOTH: [Subdir; 2] = [Subdir::New, Subdir::Cur];

    fn name(self) -> &'static str {
        match self {
            Subdir::New => "new",
            Subdir::Cur => "cur",
        }
    }
}

/// A letter as of the last listing.
#[derive(Debug)]
struct Letter {
    arrival: (u64, u64),
    name: Vec<u8>,
    /// Length of the name before the flags.
    base_len: usize,
    subdir: Subdir,
    /// The inode number, which distinguishes two letters of one name.
    inode: u64,
    /// Number of the last listing that showed it.
    listing: u32,
    /// Size with CRLF line ends, from the name or counted once.
    octets: Option<u64>,
}

impl Letter {
    fn new(subdir: Subdir, name: &[u8], inode: u64) -> Letter {
        let base = file_name::base(name);
        let (arrival, octets) = (file_name::arrival(base), file_name::wire_size(base));
        let (base_len, name) = (base.len(), name.to_vec());
        Letter { arrival, name, base_len, subdir, inode, listing: 0, octets }
    }

    /// Returns the name before the flags, which identifies the letter.
    fn base(&self) -> &[u8] {
        self.name.get(..self.base_len).unwrap_or_default()
    }

    /// Orders letters by arrival, then by name. Letters are equal if they share a name (see
    /// [`MaildirDrop::uid`]).
    fn compare(&self, other: &Letter) -> Ordering {
        self.arrival.cmp(&other.arrival).then_with(|| self.base().cmp(other.base()))
    }

    /// Drops a size that is impossible for a letter of `disk` bytes, or comes from a name with
    /// another size on disk.
    fn check_size(&mut self, disk: u64) {
        let from_name = self.octets == file_name::wire_size(self.base());
        let wrong_name = from_name && file_name::disk_size(self.base()).is_some_and(|s| s != disk);
        if wrong_name || self.octets.is_some_and(|wire| !file_name::may_be_wire_size(wire, disk)) {
            self.octets = None;
        }
    }

    fn relative(&self) -> PathBuf {
        Path::new(self.subdir.name()).join(OsStr::from_bytes(&self.name))
    }
}

/// A locked Maildir. Letters are numbered from 0. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct MaildirDrop {
    path: PathBuf,
    /// The locked Maildir folder, `None` if there is no Maildir yet.
    folder: Option<Flock<OwnedFd>>,
    /// The lock for other machines, where the folder is on a file system of the network.
    network_lock: Option<OwnedFd>,
    letters: Vec<Letter>,
    /// Number and time of the last listing.
    listing: u32,
    listed: Instant,
}

impl MaildirDrop {
    /// Returns the maildrop of a Maildir that does not exist yet: it is empty. The path is for messages.
    pub(crate) fn none(path: &Path) -> MaildirDrop {
        let (folder, network_lock, letters, listed) = (None, None, Vec::new(), Instant::now());
        MaildirDrop { path: path.to_owned(), folder, network_lock, letters, listing: 0, listed }
    }

    /// Locks and lists the maildrop in a Maildir, which is never opened by its name again. Letters are
    /// neither opened nor passed to stat(2).
    ///
    /// # Errors
    /// [`Error::InUse`] while another session has the lock, [`Error::Io`] if the maildrop cannot be
    /// read.
    pub(crate) fn open(maildir: &Folder) -> Result<MaildirDrop> {
        let path = maildir.path();
        let mut drop = MaildirDrop::none(path);
        match Flock::lock(maildir.reopen()?.into_fd(), FlockArg::LockExclusiveNonblock) {
            Ok(locked) => {
                drop.network_lock = network_lock::lock_if_remote(&*locked, path)?;
                drop.folder = Some(locked);
            }
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(Error::InUse { what: path.display().to_string() });
            }
            Err((_, errno)) => return Err(Error::io("lock", path)(errno)),
        }
        let mut letters = Vec::new();
        drop.list(|letter| letters.push(letter))?;
        // Of a letter seen in both folders, the entry in `cur` is kept, because it was read later.
        letters.sort_unstable_by(|a, b| {
            a.compare(b).then((a.inode, a.subdir).cmp(&(b.inode, b.subdir)))
        });
        letters.dedup_by(|again, first| again.inode == first.inode && again.compare(first).is_eq());
        drop.letters = letters;
        Ok(drop)
    }

    /// Returns the number of letters.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Returns the unique id of a letter (RFC 1939 §7, UIDL): 1 to 70 characters from 0x21 to
    /// 0x7E, the same in every session and with any flags.
    ///
    /// Two letters with the same name before the flags, which no correct program creates, have
    /// different ids while both exist, because a client that confused them would lose mail.
    pub(crate) fn uid(&self, index: usize) -> Option<Vec<u8>> {
        let letter = self.letters.get(index)?;
        let neighbours = [index.checked_sub(1), index.checked_add(1)].into_iter().flatten();
        let mut neighbours = neighbours.filter_map(|index| self.letters.get(index));
        let shares_name = neighbours.any(|other| other.compare(letter).is_eq());
        Some(file_name::uid(letter.base(), shares_name.then_some(letter.inode)))
    }

    /// Returns the size of a letter with CRLF line ends (RFC 1939 §11), if it is known without
    /// reading the letter.
    pub(crate) fn known_size(&self, index: usize) -> Option<u64> {
        self.letters.get(index).and_then(|letter| letter.octets)
    }

    /// Returns the size of a letter with CRLF line ends, from its name (`W=`) or counted once.
    ///
    /// A name is trusted until it is proved wrong, because a stat(2) of every file would cost more
    /// than everything else. [`MaildirDrop::read`] and [`MaildirDrop::correct_size`] correct a wrong
    /// size.
    ///
    /// # Errors
    /// [`Error::Io`] if the letter must be read and cannot be.
    pub(crate) fn size(&mut self, index: usize) -> Result<u64> {
        if let Some(octets) = self.known_size(index) {
            return Ok(octets);
        }
        let file = self.read(index)?;
        let octets = WireSize::of_file(file).map_err(Error::io("read", &self.full_path(index)))?;
        if let Some(letter) = self.letters.get_mut(index) {
            letter.octets = Some(octets);
        }
        Ok(octets)
    }

    /// Records the size of a letter that was read to its end. Returns whether it differs from the
    /// known size.
    pub(crate) fn correct_size(&mut self, index: usize, octets: u64) -> bool {
        let Some(letter) = self.letters.get_mut(index) else { return false };
        letter.octets.replace(octets).is_some_and(|known| known != octets)
    }

    /// Opens a letter for reading, even if other programs have moved it. A known size that the open
    /// file proves wrong is dropped, and counted when it is next requested.
    ///
    /// # Errors
    /// [`Error::Io`], `No such file or directory` if another program removed it.
    pub(crate) fn read(&mut self, index: usize) -> Result<File> {
        let opened = match self.open_letter(index) {
            Err(Errno::ENOENT) if !self.is_gone(index) && self.find_again()? => {
                self.open_letter(index)
            }
            other => other,
        };
        let (file, disk) = opened.map_err(Error::io("open", &self.full_path(index)))?;
        if let Some(letter) = self.letters.get_mut(index) {
            letter.check_size(disk);
        }
        Ok(file)
    }

    /// Removes as many of the letters as possible, and waits until that is on the disk. A letter that is gone
    /// already counts as removed.
    pub(crate) fn remove(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        let mut removal = self.unlink_all(indices);
        if removal.removed > 0 {
            removal.unsynced = self.sync().err();
        }
        removal
    }

    /// Fsyncs both folders. A letter that another program removed may have been in either.
    fn sync(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for subdir in Subdir::BOTH {
            let path = self.path.join(subdir.name());
            match retry_eintr(|| openat(&**folder, subdir.name(), FOLDER, Mode::empty())) {
                Ok(dir) => retry_eintr(|| fsync(&dir)).map_err(Error::io("fsync", &path))?,
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::io("open", &path)(errno)),
            }
        }
        Ok(())
    }

    fn unlink_all(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        let mut removal = Removal::default();
        let mut missing = Vec::new();
        for index in indices {
            match self.unlink(index) {
                Ok(()) => removal.removed += 1,
                Err(Errno::ENOENT) => missing.push(index),
                Err(errno) => removal.failed.push(self.unlink_error(index, errno)),
            }
        }
        if missing.is_empty() {
            return removal;
        }
        if let Err(error) = self.find_again() {
            removal.failed.push(error);
            return removal;
        }
        for index in missing {
            match self.unlink(index) {
                Ok(()) | Err(Errno::ENOENT) => removal.removed += 1,
                Err(errno) => removal.failed.push(self.unlink_error(index, errno)),
            }
        }
        removal
    }

    /// Removes files of interrupted deliveries from `tmp`, if not touched for 36 hours.
    pub(crate) fn sweep(&self) {
        if let Some(folder) = &self.folder {
            let count = sweep(&**folder);
            if count > 0 {
                log::info!("{}: {count} leftovers in tmp removed", self.path.display());
            }
        }
    }

    fn unlink_error(&self, index: usize, errno: Errno) -> Error {
        Error::io("unlink", &self.full_path(index))(errno)
    }

    fn unlink(&self, index: usize) -> nix::Result<()> {
        let letter = self.letters.get(index).ok_or(Errno::ENOENT)?;
        let folder = self.folder.as_ref().ok_or(Errno::ENOENT)?;
        unlinkat(&**folder, &letter.relative(), UnlinkatFlags::NoRemoveDir)
    }

    /// Opens a letter and returns its size on disk.
    fn open_letter(&self, index: usize) -> nix::Result<(File, u64)> {
        let letter = self.letters.get(index).ok_or(Errno::ENOENT)?;
        let folder = self.folder.as_ref().ok_or(Errno::ENOENT)?;
        let name = letter.relative();
        let file = retry_eintr(|| openat(&**folder, &name, LETTER, Mode::empty()))?;
        let stat = fstat(&file)?;
        if file_type(stat.st_mode) != SFlag::S_IFREG {
            return Err(Errno::EINVAL);
        }
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Returns whether the letter was missing in a recent listing.
    fn is_gone(&self, index: usize) -> bool {
        let missed = self.letters.get(index).is_none_or(|letter| letter.listing < self.listing);
        missed && self.listed.elapsed() < GONE_TTL
    }

    fn full_path(&self, index: usize) -> PathBuf {
        match self.letters.get(index) {
            Some(letter) => self.path.join(letter.relative()),
            None => self.path.clone(),
        }
    }

    /// Lists the folders again to find names that other programs have changed. New letters are
    /// ignored. Returns whether a name has changed.
    fn find_again(&mut self) -> Result<bool> {
        let mut letters = std::mem::take(&mut self.letters);
        let mut changed = false;
        let listing = self.listing.saturating_add(1);
        let listed = self.list(|seen| {
            let start = letters.partition_point(|letter| letter.compare(&seen).is_lt());
            let same_name = letters.get_mut(start..).unwrap_or_default();
            let count = same_name.iter().take_while(|letter| letter.compare(&seen).is_eq()).count();
            let letter = match same_name.get_mut(..count).unwrap_or_default() {
                [letter] => Some(letter),
                several => several.iter_mut().find(|letter| letter.inode == seen.inode),
            };
            let Some(letter) = letter else { return };
            letter.listing = listing;
            if (letter.subdir, &letter.name) != (seen.subdir, &seen.name) {
                (letter.subdir, letter.name) = (seen.subdir, seen.name);
                changed = true;
            }
        });
        self.letters = letters;
        listed?;
        (self.listing, self.listed) = (listing, Instant::now());
        Ok(changed)
    }

    /// Calls `each` with every regular file in `new` and then in `cur`.
    fn list(&self, mut each: impl FnMut(Letter)) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for subdir in Subdir::BOTH {
            let path = self.path.join(subdir.name());
            let open = || openat(&**folder, subdir.name(), FOLDER, Mode::empty());
            let dir = match retry_eintr(open) {
                Ok(dir) => dir,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(Error::io("open", &path)(errno)),
            };
            let listed = entries(&dir, |entry| {
                if !entry.name.starts_with(b".") && is_regular(&dir, entry) {
                    each(Letter::new(subdir, entry.name, entry.inode));
                }
            });
            listed.map_err(Error::io("read", &path))?;
        }
        Ok(())
    }
}

/// Returns whether an entry is a regular file. Calls fstatat(2) on file systems without the type in
/// the entry.
fn is_regular(folder: &OwnedFd, entry: Entry<'_>) -> bool {
    entry.is_file.unwrap_or_else(|| {
        fstatat(folder, entry.name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| file_type(stat.st_mode) == SFlag::S_IFREG)
    })
}

fn file_type(mode: nix::libc::mode_t) -> SFlag {
    SFlag::from_bits_truncate(mode).intersection(SFlag::S_IFMT)
}

#[cfg(test)]
mod tests;
