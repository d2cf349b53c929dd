//! Where the unique ids of letters come from, and which letter of several with one name has which.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::geteuid;

use crate::dovecot_lock::DovecotLock;
use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::id_list::IdList;
use crate::maildrop::maildir::letters::{Letters, Subdir};
use crate::size_cache::SizeCache;

/// The lists of other servers, in the Maildir.
const DOVECOT: &str = "dovecot-uidlist";
const COURIER: &str = "courierpop3dsizelist";
/// Largest list in bytes, of more than half a million letters.
const MAX_LIST: u64 = 64 << 20;
/// open(2) flags for a list: a symbolic link is not followed, a FIFO not waited for.
const LIST: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// Where unique ids come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UniqueIds {
    /// A letter's name before the flags.
    #[default]
    Name,
    /// Dovecot's list, where it lies in the Maildir; else the name.
    Dovecot,
    /// Courier's list, where it lies in the Maildir and has the letter; else the name.
    Courier,
}

impl UniqueIds {
    /// Reads the ids. Letters that Dovecot's list does not have are added to it, as Dovecot would; where that is not
    /// possible, they have their names for ids. A list that is wrong is not used, and left alone.
    pub(super) fn read(self, folder: &OwnedFd, path: &Path, letters: &Letters) -> IdList {
        let (name, parse): (_, fn(_) -> _) = match self {
            UniqueIds::Name => return IdList::default(),
            UniqueIds::Dovecot => (DOVECOT, IdList::dovecot),
            UniqueIds::Courier => (COURIER, IdList::courier),
        };
        let file = path.join(name);
        let read = || read_list(folder, name, &file).and_then(|bytes| parsed(bytes, &file, parse));
        let list = match read() {
            Ok(list) => list,
            Err(error) if error.kind() == Some(std::io::ErrorKind::NotFound) => {
                return IdList::default();
            }
            Err(error) => {
                log::warn!("{error}; the ids are names");
                return IdList::default();
            }
        };
        if self == UniqueIds::Courier || new_names(&list, letters).is_empty() {
            return list;
        }
        add_new(folder, path, letters).unwrap_or_else(|error| {
            log::warn!("{error}; the ids of new letters are names");
            list
        })
    }
}

fn parsed(
    bytes: Vec<u8>,
    file: &Path,
    parse: impl Fn(Vec<u8>) -> std::result::Result<IdList, usize>,
) -> Result<IdList> {
    parse(bytes)
        .map_err(|line| Error::Refused(format!("{}:{line}: not understood", file.display())))
}

fn read_list(folder: &OwnedFd, name: &str, path: &Path) -> Result<Vec<u8>> {
    let (file, _) = open_list(folder, name, path, OFlag::O_RDONLY)?;
    let mut bytes = Vec::new();
    file.take(MAX_LIST + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_LIST {
        return Err(Error::Refused(format!("{}: too large", path.display())));
    }
    Ok(bytes)
}

/// Opens a list that is a regular file of the user who runs this; returns its length in bytes, too.
fn open_list(folder: &OwnedFd, name: &str, path: &Path, how: OFlag) -> Result<(File, u64)> {
    let open = || openat(folder, name, LIST | how, Mode::empty());
    let file = retry_eintr(open).map_err(Error::io("open", path))?;
    let stat = fstat(&file).map_err(Error::io("stat", path))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT);
    if kind != SFlag::S_IFREG || stat.st_uid != geteuid().as_raw() {
        return Err(Error::Refused(format!("{}: not a file of the owner's", path.display())));
    }
    Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Returns the names that a list does not have, in the order of their arrival.
fn new_names<'a>(list: &IdList, letters: &'a Letters) -> Vec<&'a [u8]> {
    let names = (0..letters.len()).map(|index| letters.base(index));
    // Dovecot ignores a letter whose name has a line end.
    let mut new: Vec<&[u8]> = names
        .filter(|name| !name.iter().any(|b| matches!(b, b'\r' | b'\n')) && !list.has(name))
        .collect();
    new.dedup();
    new
}

/// Adds the letters that Dovecot's list does not have, under Dovecot's lock, on the disk when this returns.
fn add_new(folder: &OwnedFd, path: &Path, letters: &Letters) -> Result<IdList> {
    let file = path.join(DOVECOT);
    let _lock = DovecotLock::take(folder, DOVECOT, path)?;
    let mut bytes = read_list(folder, DOVECOT, &file)?; // Dovecot may have changed it before the lock was ours
    let list = parsed(bytes.clone(), &file, IdList::dovecot)?;
    let Some(next) = list.next.filter(|_| list.is_whole()) else {
        return Err(Error::Refused(format!("{}: the last line is not whole", file.display())));
    };
    let mut lines = Vec::new();
    for (uid, name) in (next.uid..u32::MAX).zip(new_names(&list, letters)) {
        lines.extend_from_slice(next.line_start(uid).as_bytes());
        lines.extend_from_slice(name);
        lines.push(b'\n');
    }
    let (mut opened, length) =
        open_list(folder, DOVECOT, &file, OFlag::O_WRONLY | OFlag::O_APPEND)?;
    if length != bytes.len() as u64 {
        return Err(Error::Refused(format!("{}: changed in spite of its lock", file.display())));
    }
    if let Err(error) = opened.write_all(&lines).and_then(|()| opened.sync_data()) {
        let _ = opened.set_len(length); // best effort: half a line would spoil the list
        return Err(Error::io("write", &file)(error));
    }
    bytes.extend_from_slice(&lines);
    parsed(bytes, &file, IdList::dovecot)
}

/// Says which letters of those with one name are not the one that had it first: their ids are others, and stay so. The
/// first is the one that an earlier session has measured; where none was, the one in `cur`, which a mail reader has
/// seen before the other came. If that does not tell, there is none.
pub(super) fn tell_twins(letters: &mut Letters, cache: &SizeCache) {
    for group in letters.twins() {
        let measured = |index: usize| letters.id(index).and_then(|id| cache.get(id));
        let is_new = group.clone().all(|index| measured(index).is_none());
        let is_first = |index: &usize| match measured(*index) {
            Some(measured) => !measured.notes.is_twin,
            None => is_new && letters.get(*index).is_some_and(|it| it.subdir == Subdir::Cur),
        };
        let mut first = group.clone().filter(is_first);
        let first = first.next().filter(|_| first.next().is_none());
        for index in group {
            if let Some(letter) = letters.get_mut(index) {
                letter.is_twin = Some(index) != first;
            }
        }
    }
}

/// Says which letters have the id of an earlier one in a list: theirs are others, and stay so, also when the earlier
/// one is gone.
pub(super) fn tell_repeated(letters: &mut Letters, ids: &IdList) {
    for index in if ids.has_repeated() { 0..letters.len() } else { 0..0 } {
        if ids.is_repeated(letters.base(index))
            && let Some(letter) = letters.get_mut(index)
        {
            letter.is_twin = true;
        }
    }
}
