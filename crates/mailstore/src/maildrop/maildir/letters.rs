//! The letters of a Maildir, as its folders list them.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use sys::getdents::{Entry, entries};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::file_name::{self, NamedSizes};
use crate::size_cache::{FileId, FileState, Measured, SizeCache};

/// open(2) flags for a folder that is to be listed: `new` and `cur` are no links.
pub(super) const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// open(2) flags for a letter: does not follow a symbolic link, and does not wait for a FIFO's
/// other end.
const LETTER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// The two folders that hold letters. `new` is read first, so that a letter being moved to `cur` is
/// seen twice rather than missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subdir {
    Cur,
    New,
}

impl Subdir {
    pub(super) const BOTH: [Subdir; 2] = [Subdir::New, Subdir::Cur];

    pub(super) fn name(self) -> &'static str {
        match self {
            Subdir::New => "new",
            Subdir::Cur => "cur",
        }
    }
}

/// What is known of a letter's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Unknown,
    /// The size with CRLF line ends in its name, which is not checked.
    Named(u64),
    Measured(Measured),
}

/// A letter as of the last listing. A small struct, because there may be many.
#[derive(Debug)]
pub(super) struct Letter {
    /// Orders by time: seconds, and 20 bits of microseconds.
    arrival: u64,
    /// The inode number, which distinguishes two letters of one name.
    pub(super) inode: u64,
    /// That of its name before the flags, and the sizes that this tells. Made as the name comes: to look for 50,000
    /// names later, in another order, costs more than all else that a listing does with them.
    hash: u64,
    named: Option<NamedSizes>,
    /// Where its name is among the names, its length in bytes, and that before the flags.
    start: u32,
    length: u16,
    base_length: u16,
    /// Number of the last listing that showed it.
    pub(super) listing: u32,
    pub(super) subdir: Subdir,
    /// It shares its name with a letter that was here before, or that came with it.
    pub(super) is_twin: bool,
    /// It was sent to its end.
    pub(super) is_sent: bool,
    pub(super) size: Size,
}

/// Letters in the order of their arrival, with their names in one piece.
#[derive(Debug, Default)]
pub(super) struct Letters {
    names: Vec<u8>,
    all: Vec<Letter>,
}

impl Letters {
    /// Lists both folders of a Maildir.
    ///
    /// # Errors
    /// A folder is missing or cannot be read.
    pub(super) fn list(folder: &impl AsFd, path: &Path) -> Result<Letters> {
        let mut letters = Letters::default();
        each_file(folder, path, |subdir, name, inode| letters.add(subdir, name, inode))?;
        letters.sort();
        Ok(letters)
    }

    fn add(&mut self, subdir: Subdir, name: &[u8], inode: u64) {
        let base = file_name::base(name);
        let Some((start, length)) = add_name(&mut self.names, name) else { return };
        self.all.push(Letter {
            arrival: arrival(base),
            inode,
            hash: file_name::hash(base),
            named: file_name::sizes(base),
            start,
            length,
            base_length: u16::try_from(base.len()).unwrap_or(length),
            listing: 0,
            subdir,
            is_twin: false,
            is_sent: false,
            size: Size::Unknown,
        });
    }

    /// Sorts by arrival, then by name. Of a letter seen in both folders the entry in `cur` is kept, because it was
    /// read later.
    fn sort(&mut self) {
        let names = &self.names;
        self.all.sort_by_cached_key(|letter| letter.arrival);
        for same in self.all.chunk_by_mut(|a, b| a.arrival == b.arrival) {
            same.sort_unstable_by(|a, b| {
                let by_base = base_of(names, a).cmp(base_of(names, b));
                by_base.then((a.inode, a.subdir).cmp(&(b.inode, b.subdir)))
            });
        }
        self.all.dedup_by(|again, first| {
            again.inode == first.inode && base_of(names, again) == base_of(names, first)
        });
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Letter> {
        self.all.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Letter> {
        self.all.get_mut(index)
    }

    /// Returns the name of a letter before the flags, which identifies it.
    pub(super) fn base(&self, index: usize) -> &[u8] {
        self.all.get(index).map_or(&[], |letter| base_of(&self.names, letter))
    }

    /// Returns the sizes that the name of a letter tells.
    pub(super) fn named(&self, index: usize) -> Option<NamedSizes> {
        self.all.get(index)?.named
    }

    /// Returns the whole name of a letter.
    pub(super) fn name(&self, index: usize) -> &[u8] {
        let Some(letter) = self.all.get(index) else { return &[] };
        bytes_at(&self.names, letter.start, letter.length)
    }

    /// Returns the path of a letter in its Maildir.
    pub(super) fn relative(&self, index: usize) -> Option<PathBuf> {
        let folder = Path::new(self.all.get(index)?.subdir.name());
        Some(folder.join(OsStr::from_bytes(self.name(index))))
    }

    /// Opens a letter that is still where it was.
    ///
    /// # Errors
    /// openat(2): ENOENT if it is not; EINVAL for what is no regular file any more.
    pub(super) fn open(
        &self,
        folder: Option<&OwnedFd>,
        index: usize,
    ) -> nix::Result<(File, FileState)> {
        let name = self.relative(index).ok_or(Errno::ENOENT)?;
        let folder = folder.ok_or(Errno::ENOENT)?;
        let file = retry_eintr(|| openat(folder, &name, LETTER, Mode::empty()))?;
        let stat = fstat(&file)?;
        if file_type(stat.st_mode) != SFlag::S_IFREG {
            return Err(Errno::EINVAL);
        }
        Ok((File::from(file), FileState::of(&stat)))
    }

    /// Returns the state of a letter that is still where it was.
    pub(super) fn state(&self, folder: Option<&OwnedFd>, index: usize) -> Option<FileState> {
        let name = self.relative(index)?;
        let stat = fstatat(folder?, &name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(FileState::of(&stat))
    }

    pub(super) fn id(&self, index: usize) -> Option<FileId> {
        let letter = self.all.get(index)?;
        Some(FileId { inode: letter.inode, name: letter.hash })
    }

    /// Returns what was measured of the letters, in this session or, as a cache has it, in an earlier one.
    pub(super) fn measured(&self, cache: Option<&SizeCache>) -> Vec<(FileId, Measured)> {
        let known = |index| {
            let id = self.id(index)?;
            match self.all.get(index)?.size {
                Size::Measured(measured) => Some((id, measured)),
                Size::Unknown => Some((id, cache?.get(id)?)),
                Size::Named(_) => None,
            }
        };
        (0..self.all.len()).filter_map(known).collect()
    }

    /// Returns whether letters share a name.
    pub(super) fn has_twins(&self) -> bool {
        self.all.windows(2).any(|pair| match pair {
            [a, b] => self.are_twins(a, b),
            _ => false,
        })
    }

    /// Returns the groups of letters that share a name, by the indices of their members.
    pub(super) fn twins(&self) -> Vec<std::ops::Range<usize>> {
        let mut start = 0;
        let groups = self.all.chunk_by(|a, b| self.are_twins(a, b)).map(|group| {
            let from = start;
            start += group.len();
            from..start
        });
        groups.filter(|group| group.len() > 1).collect()
    }

    fn are_twins(&self, a: &Letter, b: &Letter) -> bool {
        a.arrival == b.arrival && base_of(&self.names, a) == base_of(&self.names, b)
    }

    /// Takes the new name of a letter.
    pub(super) fn rename(&mut self, index: usize, subdir: Subdir, name: &[u8]) {
        let Some(letter) = self.all.get_mut(index) else { return };
        if let Some((start, length)) = add_name(&mut self.names, name) {
            (letter.start, letter.length, letter.subdir) = (start, length, subdir);
        }
    }

    /// Lists the folders again to find names that other programs have changed; the listing has this number. New
    /// letters are ignored. Returns whether a name has changed.
    ///
    /// # Errors
    /// As [`Letters::list`].
    pub(super) fn find_again(
        &mut self,
        folder: &impl AsFd,
        path: &Path,
        listing: u32,
    ) -> Result<bool> {
        let mut changed = false;
        each_file(folder, path, |subdir, name, inode| {
            let Some(index) = self.find(file_name::base(name), inode) else { return };
            let is_same = self.name(index) == name;
            let Some(letter) = self.all.get_mut(index) else { return };
            letter.listing = listing;
            if letter.subdir != subdir || !is_same {
                self.rename(index, subdir, name);
                changed = true;
            }
        })?;
        Ok(changed)
    }

    /// Returns the letter of this name; of several the one with this inode.
    fn find(&self, base: &[u8], inode: u64) -> Option<usize> {
        let arrival = arrival(base);
        let compare = |letter: &Letter| -> Ordering {
            letter.arrival.cmp(&arrival).then_with(|| base_of(&self.names, letter).cmp(base))
        };
        let start = self.all.partition_point(|letter| compare(letter).is_lt());
        let same = self.all.get(start..)?.iter().take_while(|letter| compare(letter).is_eq());
        match same.clone().count() {
            0 => None,
            1 => Some(start),
            _ => same.clone().position(|letter| letter.inode == inode).map(|at| start + at),
        }
    }
}

fn bytes_at(names: &[u8], start: u32, length: u16) -> &[u8] {
    let start = start as usize;
    names.get(start..start + usize::from(length)).unwrap_or_default()
}

fn base_of<'a>(names: &'a [u8], letter: &Letter) -> &'a [u8] {
    bytes_at(names, letter.start, letter.base_length)
}

/// Adds a name; returns where it is and its length. `None` past 4 GiB of names.
fn add_name(names: &mut Vec<u8>, name: &[u8]) -> Option<(u32, u16)> {
    let place = (u32::try_from(names.len()).ok()?, u16::try_from(name.len()).ok()?);
    names.extend_from_slice(name);
    Some(place)
}

fn arrival(base: &[u8]) -> u64 {
    const MICROSECONDS: u32 = 20; // bits, for numbers up to 1,048,575
    let (seconds, micros) = file_name::arrival(base);
    let most = |bits: u32| (1 << bits) - 1;
    seconds.min(most(64 - MICROSECONDS)) << MICROSECONDS | micros.min(most(MICROSECONDS))
}

/// Calls `each` with every regular file in `new` and then in `cur`: its name and inode.
fn each_file(
    folder: &impl AsFd,
    path: &Path,
    mut each: impl FnMut(Subdir, &[u8], u64),
) -> Result<()> {
    for subdir in Subdir::BOTH {
        let path = path.join(subdir.name());
        let open = || openat(folder, subdir.name(), FOLDER, Mode::empty());
        let dir = retry_eintr(open).map_err(Error::io("open", &path))?;
        let mut failed = None;
        let listed = entries(&dir, |entry| {
            if !entry.name.starts_with(b".") {
                match is_regular(&dir, entry) {
                    Ok(true) => each(subdir, entry.name, entry.inode),
                    Ok(false) => {}
                    Err(errno) => failed = Some(errno),
                }
            }
        });
        listed.map_err(Error::io("read", &path))?;
        failed.map_or(Ok(()), |errno| Err(Error::io("stat a file in", &path)(errno)))?;
    }
    Ok(())
}

/// Returns whether an entry is a regular file. Calls fstatat(2) on file systems without the type in
/// the entry.
fn is_regular(dir: &OwnedFd, entry: Entry<'_>) -> nix::Result<bool> {
    if let Some(is_file) = entry.is_file {
        return Ok(is_file);
    }
    match fstatat(dir, entry.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(file_type(stat.st_mode) == SFlag::S_IFREG),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn file_type(mode: nix::libc::mode_t) -> SFlag {
    SFlag::from_bits_truncate(mode).intersection(SFlag::S_IFMT)
}
