//! The POP3 maildrop (RFC 1939 §4, §5): the letters of a Maildir as they were when the session
//! began, numbered in the order of their arrival, under an exclusive lock.
//!
//! The lock is flock(2) on the Maildir folder itself: no file is left behind, two names of one
//! folder are one lock, and the kernel frees it however the process ends.
//!
//! Other programs go on working on the folder: they deliver (unseen by this session), move letters
//! from `new` to `cur` and change flags (the letter is found again by the part of its name that
//! never changes), and remove letters (which is then an error of that letter alone).

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::{Dir, Entry, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::dirs::uninterrupted;
use crate::error::{Error, Result};
use crate::name;
use crate::size::WireSize;
use crate::sweep::sweep;

/// How a folder is opened.
const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// How a letter is opened: never through a symbolic link, never waiting for a FIFO's other end.
const LETTER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// How long a letter that a listing did not show counts as gone without another look: thousands
/// that somebody removed must not cost a listing each.
const GONE: Duration = Duration::from_secs(1);

/// The two folders that hold letters. `new` is read first: what moves meanwhile to `cur` is seen
/// there again and not missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Cur,
    New,
}

impl Place {
    const BOTH: [Place; 2] = [Place::New, Place::Cur];

    fn name(self) -> &'static str {
        match self {
            Place::New => "new",
            Place::Cur => "cur",
        }
    }
}

/// One letter as it was seen last.
#[derive(Debug)]
struct Letter {
    arrival: (u64, u64),
    name: Vec<u8>,
    /// How much of the name stands before the flags.
    base: usize,
    place: Place,
    /// Tells two letters that have one name apart.
    inode: u64,
    /// The number of the last listing that showed it.
    listing: u32,
    /// With CRLF line ends; from the name, or counted once.
    octets: Option<u64>,
}

impl Letter {
    fn new(place: Place, name: &[u8], inode: u64) -> Letter {
        let base = name::base(name);
        let (arrival, octets) = (name::arrival(base), name::wire_size(base));
        let (base, name) = (base.len(), name.to_vec());
        Letter { arrival, name, base, place, inode, listing: 0, octets }
    }

    /// Who it is.
    fn base(&self) -> &[u8] {
        self.name.get(..self.base).unwrap_or_default()
    }

    /// Where it stands among the others: in the order of arrival, then of names. Equal is the
    /// same letter, or one of its twins (see [`Maildrop::uid`]).
    fn compare(&self, other: &Letter) -> Ordering {
        self.arrival.cmp(&other.arrival).then_with(|| self.base().cmp(other.base()))
    }

    /// Forgets a size that a letter of `disk` octets cannot have, or that stands in a name that is
    /// wrong about `disk`.
    fn check_size(&mut self, disk: u64) {
        let from_name = self.octets == name::wire_size(self.base());
        let wrong_name = from_name && name::disk_size(self.base()).is_some_and(|s| s != disk);
        if wrong_name || self.octets.is_some_and(|wire| !name::may_be_wire_size(wire, disk)) {
            self.octets = None;
        }
    }

    fn relative(&self) -> PathBuf {
        Path::new(self.place.name()).join(OsStr::from_bytes(&self.name))
    }
}

/// A locked maildrop. Letters are told by their index, from 0. The lock is freed when it is
/// dropped.
#[derive(Debug)]
pub struct Maildrop {
    path: PathBuf,
    /// The Maildir folder, locked; none where there is no Maildir yet.
    folder: Option<Flock<OwnedFd>>,
    letters: Vec<Letter>,
    /// The number of the last listing, and when it was made.
    listing: u32,
    listed: Instant,
}

/// What came of removing letters.
#[derive(Debug, Default)]
pub struct Removal {
    /// How many are gone, those that another program had removed already counted.
    pub removed: usize,
    /// What was in the way of the others.
    pub failed: Vec<Error>,
}

impl Maildrop {
    /// Opens, locks and lists the maildrop of a Maildir. A Maildir that does not exist yet is an
    /// empty maildrop. No letter is opened, and none is asked for its size.
    ///
    /// # Errors
    /// [`Error::InUse`] while another session has it; [`Error::Io`] where it cannot be read.
    pub fn open(path: &Path) -> Result<Maildrop> {
        let (folder, letters, listed) = (None, Vec::new(), Instant::now());
        let mut drop = Maildrop { path: path.to_owned(), folder, letters, listing: 0, listed };
        let folder = match uninterrupted(|| open(path, FOLDER, Mode::empty())) {
            Ok(folder) => folder,
            // A link to nowhere is no Maildir to come but a mistake, or a disk not mounted.
            Err(Errno::ENOENT) if !path.is_symlink() => return Ok(drop),
            Err(errno) => return Err(Error::io("open", path)(errno)),
        };
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => drop.folder = Some(locked),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(Error::InUse { what: path.display().to_string() });
            }
            Err((_, errno)) => return Err(Error::io("lock", path)(errno)),
        }
        let mut letters = Vec::new();
        drop.list(|letter| letters.push(letter))?;
        // Of a letter seen in both folders the one in `cur` is the later sight, and is kept.
        letters.sort_unstable_by(|a, b| {
            a.compare(b).then((a.inode, a.place).cmp(&(b.inode, b.place)))
        });
        letters.dedup_by(|again, first| again.inode == first.inode && again.compare(first).is_eq());
        drop.letters = letters;
        Ok(drop)
    }

    /// How many letters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The unique id of a letter (RFC 1939 §7, UIDL): 1 to 70 characters from 0x21 to 0x7E, the
    /// same in every session, whatever becomes of its flags.
    ///
    /// Two letters with one name before the flags, which no good program makes, have ids of their
    /// own while both are there: a client that took the one for the other would lose mail.
    #[must_use]
    pub fn uid(&self, index: usize) -> Option<Vec<u8>> {
        let letter = self.letters.get(index)?;
        let beside = [index.checked_sub(1), index.checked_add(1)];
        let mut beside = beside.into_iter().flatten().filter_map(|index| self.letters.get(index));
        let twin = beside.any(|other| other.compare(letter).is_eq());
        Some(name::uid(letter.base(), twin.then_some(letter.inode)))
    }

    /// The size of a letter with CRLF line ends (RFC 1939 §11), where it is known without reading.
    #[must_use]
    pub fn known_size(&self, index: usize) -> Option<u64> {
        self.letters.get(index).and_then(|letter| letter.octets)
    }

    /// The size of a letter with CRLF line ends: from its name (`W=`), otherwise counted, once.
    ///
    /// A name is believed while nothing speaks against it, because asking every file would cost
    /// more than all the rest; [`Maildrop::read`] and [`Maildrop::correct_size`] mend a wrong one.
    ///
    /// # Errors
    /// [`Error::Io`] where it has to be read and cannot be.
    pub fn size(&mut self, index: usize) -> Result<u64> {
        if let Some(octets) = self.known_size(index) {
            return Ok(octets);
        }
        let file = self.read(index)?;
        let octets = WireSize::of(file).map_err(Error::io("read", &self.full_path(index)))?;
        if let Some(letter) = self.letters.get_mut(index) {
            letter.octets = Some(octets);
        }
        Ok(octets)
    }

    /// The letter was read whole, and this is its size. Tells whether another one was believed.
    pub fn correct_size(&mut self, index: usize, octets: u64) -> bool {
        let Some(letter) = self.letters.get_mut(index) else { return false };
        letter.octets.replace(octets).is_some_and(|believed| believed != octets)
    }

    /// Opens a letter for reading, wherever other programs have moved it. A size that the open
    /// file proves wrong is forgotten, to be counted when it is asked for.
    ///
    /// # Errors
    /// [`Error::Io`]: `No such file or directory` where somebody removed it.
    pub fn read(&mut self, index: usize) -> Result<File> {
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

    /// Removes letters, as many as can be removed. One that is gone already counts as removed.
    pub fn remove(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        let mut removal = Removal::default();
        let mut lost = Vec::new();
        for index in indices {
            match self.unlink(index) {
                Ok(()) => removal.removed += 1,
                Err(Errno::ENOENT) => lost.push(index),
                Err(errno) => removal.failed.push(self.unlink_error(index, errno)),
            }
        }
        if lost.is_empty() {
            return removal;
        }
        if let Err(error) = self.find_again() {
            removal.failed.push(error);
            return removal;
        }
        for index in lost {
            match self.unlink(index) {
                Ok(()) | Err(Errno::ENOENT) => removal.removed += 1,
                Err(errno) => removal.failed.push(self.unlink_error(index, errno)),
            }
        }
        removal
    }

    /// Removes what cut-off deliveries have left in `tmp` and nobody has touched for 36 hours.
    pub fn sweep(&self) {
        if self.folder.is_some() {
            let count = sweep(&self.path);
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

    /// The letter and its size on disk.
    fn open_letter(&self, index: usize) -> nix::Result<(File, u64)> {
        let letter = self.letters.get(index).ok_or(Errno::ENOENT)?;
        let folder = self.folder.as_ref().ok_or(Errno::ENOENT)?;
        let name = letter.relative();
        let file = uninterrupted(|| openat(&**folder, &name, LETTER, Mode::empty()))?;
        let stat = fstat(&file)?;
        if file_type(stat.st_mode) != SFlag::S_IFREG {
            return Err(Errno::EINVAL);
        }
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Whether the folders were listed a moment ago and did not show it.
    fn is_gone(&self, index: usize) -> bool {
        let missed = self.letters.get(index).is_none_or(|letter| letter.listing < self.listing);
        missed && self.listed.elapsed() < GONE
    }

    fn full_path(&self, index: usize) -> PathBuf {
        match self.letters.get(index) {
            Some(letter) => self.path.join(letter.relative()),
            None => self.path.clone(),
        }
    }

    /// Lists the folders anew for the names that other programs have changed. Letters that came
    /// meanwhile stay unseen. Tells whether any name is another one.
    fn find_again(&mut self) -> Result<bool> {
        let mut letters = std::mem::take(&mut self.letters);
        let mut changed = false;
        let listing = self.listing.saturating_add(1);
        let listed = self.list(|seen| {
            let start = letters.partition_point(|letter| letter.compare(&seen).is_lt());
            let twins = letters.get_mut(start..).unwrap_or_default();
            let count = twins.iter().take_while(|letter| letter.compare(&seen).is_eq()).count();
            let letter = match twins.get_mut(..count).unwrap_or_default() {
                [letter] => Some(letter),
                twins => twins.iter_mut().find(|letter| letter.inode == seen.inode),
            };
            let Some(letter) = letter else { return };
            letter.listing = listing;
            if (letter.place, &letter.name) != (seen.place, &seen.name) {
                (letter.place, letter.name) = (seen.place, seen.name);
                changed = true;
            }
        });
        self.letters = letters;
        listed?;
        (self.listing, self.listed) = (listing, Instant::now());
        Ok(changed)
    }

    /// Hands every regular file of `new` and then of `cur` to `each`.
    fn list(&self, mut each: impl FnMut(Letter)) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for place in Place::BOTH {
            let path = self.path.join(place.name());
            let open = || Dir::openat(&**folder, place.name(), FOLDER, Mode::empty());
            let mut dir = match uninterrupted(open) {
                Ok(dir) => dir,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(Error::io("open", &path)(errno)),
            };
            for entry in dir.iter() {
                let entry = entry.map_err(Error::io("read", &path))?;
                let name = entry.file_name().to_bytes();
                if name.starts_with(b".") || !is_regular(folder, place, &entry) {
                    continue;
                }
                each(Letter::new(place, name, entry.ino()));
            }
        }
        Ok(())
    }
}

/// Whether an entry is a regular file. The folder itself tells on most file systems; on the others
/// the file is asked.
fn is_regular(folder: &OwnedFd, place: Place, entry: &Entry) -> bool {
    match entry.file_type() {
        Some(kind) => kind == Type::File,
        None => {
            let path =
                Path::new(place.name()).join(OsStr::from_bytes(entry.file_name().to_bytes()));
            fstatat(folder, &path, AtFlags::AT_SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| file_type(stat.st_mode) == SFlag::S_IFREG)
        }
    }
}

fn file_type(mode: nix::libc::mode_t) -> SFlag {
    SFlag::from_bits_truncate(mode).intersection(SFlag::S_IFMT)
}

#[cfg(test)]
#[path = "maildrop_tests.rs"]
mod tests;
