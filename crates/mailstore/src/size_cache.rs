//! The sizes of letters that were measured once, kept in a file of the Maildir, `pop3d.sizes`.
//!
//! An entry belongs to a file (its inode and its name before the flags) in one state (its size and the time of its
//! last change). So it stays true when flags change or the letter moves from `new` to `cur`, and ends when
//! the file is written again or replaced. The file of the cache is written under another name and renamed.
//! It is a cache: one that is missing, damaged, or might be another user's is empty, and every letter is
//! measured again.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::Error;
use crate::file_name::hash;

/// The name of the file in the Maildir, and while it is written.
const NAME: &str = "pop3d.sizes";
const DRAFT: &str = "pop3d.sizes.new";
/// First bytes of the file: what it is, and the version of its format.
const MAGIC: &[u8; 16] = b"pop3d sizes v1\n\0";
/// Bytes before the first entry: [`MAGIC`], and a checksum of the entries.
const HEADER: usize = MAGIC.len() + 8;
/// Bytes of an entry: six numbers of 64 bits, little end first.
const ENTRY: usize = 48;
/// Largest file in bytes, of more than a million letters.
const MAX_FILE: u64 = 64 << 20;
/// open(2) flags for the file: a symbolic link is not followed, a FIFO not waited for.
const FILE: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);
/// open(2) flags for the draft.
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// Rights of group and others to change a file.
const OTHERS_WRITE: u32 = 0o022;

/// A letter's file, whatever it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub(crate) inode: u64,
    /// [`hash`] of the name before the flags.
    pub(crate) name: u64,
}

/// The state of a letter's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    /// Bytes on disk.
    pub(crate) bytes: u64,
    /// Time of the last change in nanoseconds.
    pub(crate) changed: u64,
}

impl FileState {
    pub(crate) fn of(stat: &FileStat) -> FileState {
        let nanoseconds =
            stat.st_mtime.wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec);
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        FileState { bytes, changed: nanoseconds.cast_unsigned() }
    }
}

/// What is known of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) state: FileState,
    /// Size with CRLF line ends, unpacked.
    pub(crate) octets: u64,
    pub(crate) notes: Notes,
}

/// What else was seen when a letter was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// It is packed with gzip.
    pub(crate) is_packed: bool,
    /// It is packed so that it cannot be unpacked, and is not sent.
    pub(crate) is_refused: bool,
    /// It came when another letter had its name already, so that its id is another one.
    pub(crate) is_twin: bool,
}

impl Notes {
    fn bits(self) -> u64 {
        u64::from(self.is_packed) | u64::from(self.is_refused) << 1 | u64::from(self.is_twin) << 2
    }

    fn from_bits(bits: u64) -> Notes {
        let has = |bit: u32| bits >> bit & 1 == 1;
        Notes { is_packed: has(0), is_refused: has(1), is_twin: has(2) }
    }
}

type Entry = (FileId, Measured);

/// The entries of the file, in the order of their [`FileId`]s.
#[derive(Debug, Default)]
pub(crate) struct SizeCache {
    entries: Vec<Entry>,
    has_twins: bool,
    /// The place after the entry that was last found.
    next: Cell<usize>,
}

impl SizeCache {
    /// Reads the file in a Maildir of this owner. `path` is for messages.
    pub(crate) fn read(folder: &impl AsFd, path: &Path, owner: Uid) -> SizeCache {
        let name = path.join(NAME);
        let file = match retry_eintr(|| openat(folder, NAME, FILE, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return SizeCache::default(),
            Err(errno) => {
                log::warn!("{}: {}; ignored", name.display(), errno.desc());
                return SizeCache::default();
            }
        };
        match fstat(&file) {
            Ok(stat) if is_trusted(&stat, owner) => {}
            Err(errno) => {
                log::warn!("{}; ignored", Error::io("stat", &name)(errno));
                return SizeCache::default();
            }
            Ok(_) => {
                log::warn!("{}: another user could have written it; ignored", name.display());
                return SizeCache::default();
            }
        }
        let mut bytes = Vec::new();
        match file.take(MAX_FILE + 1).read_to_end(&mut bytes) {
            Ok(_) => SizeCache::parse(&bytes).unwrap_or_else(|| {
                log::info!("{}: damaged, or of another version; ignored", name.display());
                SizeCache::default()
            }),
            Err(error) => {
                log::warn!("{}: {error}; ignored", name.display());
                SizeCache::default()
            }
        }
    }

    fn parse(file: &[u8]) -> Option<SizeCache> {
        let body = file.get(HEADER..)?;
        let sum = file.strip_prefix(MAGIC)?.get(..8)?;
        if file.len() as u64 > MAX_FILE || body.len() % ENTRY != 0 || number(sum) != hash(body) {
            return None;
        }
        let entries: Vec<Entry> = body.chunks_exact(ENTRY).map(entry).collect();
        let has_twins = entries.iter().any(|(_, measured)| measured.notes.is_twin);
        entries.is_sorted_by_key(|(id, _)| *id).then_some(SizeCache {
            entries,
            has_twins,
            next: Cell::new(0),
        })
    }

    /// Returns what is known of a letter's file, whose state may be another one by now.
    pub(crate) fn get(&self, id: FileId) -> Option<Measured> {
        // Letters that came one after the other often have inodes in this order.
        let next = self.next.get();
        let at = match self.entries.get(next) {
            Some((there, _)) if *there == id => next,
            _ => self.entries.binary_search_by_key(&id, |(id, _)| *id).ok()?,
        };
        self.next.set(at + 1);
        self.entries.get(at).map(|(_, measured)| *measured)
    }

    /// Returns whether a letter is noted as a twin.
    pub(crate) fn has_twins(&self) -> bool {
        self.has_twins
    }

    /// Writes a new file with these entries and puts it in the place of the old one. It is not waited for: what a
    /// power failure damages is measured again.
    ///
    /// # Errors
    /// openat(2), write(2), renameat(2), such as ENOSPC. The old file then stays.
    pub(crate) fn write(folder: &impl AsFd, mut entries: Vec<Entry>) -> std::io::Result<()> {
        entries.sort_unstable_by_key(|(id, _)| *id);
        let mut body = Vec::with_capacity(entries.len() * ENTRY);
        for (id, Measured { state, octets, notes }) in entries {
            let numbers = [id.inode, id.name, state.bytes, state.changed, octets, notes.bits()];
            numbers.iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        }
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let create = || retry_eintr(|| openat(folder, DRAFT, NEW_FILE, mode));
        let remove = || unlinkat(folder, DRAFT, UnlinkatFlags::NoRemoveDir);
        let draft = match create() {
            Err(Errno::EEXIST) => remove().and_then(|()| create())?, // of a process that was killed
            created => created?,
        };
        let mut draft = File::from(draft);
        let header = [&MAGIC[..], &hash(&body).to_le_bytes()].concat();
        let written = draft.write_all(&header).and_then(|()| draft.write_all(&body));
        let placed = written.and_then(|()| Ok(renameat(folder, DRAFT, folder, NAME)?));
        if placed.is_err() {
            let _ = remove(); // best effort
        }
        placed
    }
}

/// A regular file of the owner's, that only the owner may write to.
fn is_trusted(stat: &FileStat, owner: Uid) -> bool {
    let kind = SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT);
    kind == SFlag::S_IFREG && stat.st_uid == owner.as_raw() && stat.st_mode & OTHERS_WRITE == 0
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn entry(bytes: &[u8]) -> Entry {
    let field = |index: usize| number(bytes.get(index * 8..index * 8 + 8).unwrap_or_default());
    let state = FileState { bytes: field(2), changed: field(3) };
    let measured = Measured { state, octets: field(4), notes: Notes::from_bits(field(5)) };
    (FileId { inode: field(0), name: field(1) }, measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use testkit::{TempDir, names, root_can_judge};

    fn entry(inode: u64) -> Entry {
        let state = FileState { bytes: 10, changed: 1 << 63 };
        let notes = Notes { is_twin: true, is_packed: inode == 7, is_refused: false };
        (FileId { inode, name: hash(b"1.a.h") }, Measured { state, octets: 12, notes })
    }

    fn read(folder: &File, dir: &TempDir) -> SizeCache {
        SizeCache::read(folder, dir.path(), nix::unistd::geteuid())
    }

    fn written(inodes: &[u64]) -> (TempDir, File) {
        let dir = TempDir::new();
        let folder = File::open(dir.path()).unwrap();
        SizeCache::write(&folder, inodes.iter().map(|inode| entry(*inode)).collect()).unwrap();
        (dir, folder)
    }

    #[test]
    fn what_was_written_is_read_back_and_the_draft_is_gone() {
        let (dir, folder) = written(&[9, 7, 8]);
        let cache = read(&folder, &dir);
        for inode in [7, 8, 9] {
            assert_eq!(cache.get(entry(inode).0), Some(entry(inode).1));
        }
        assert_eq!(cache.get(FileId { inode: 7, name: hash(b"1.b.h") }), None);
        assert_eq!(names(dir.path()), [NAME]);
        fs::write(dir.path().join(DRAFT), "of a process that was killed").unwrap();
        SizeCache::write(&folder, vec![entry(1)]).unwrap();
        assert_eq!(read(&folder, &dir).entries, [entry(1)]);
        assert_eq!(names(dir.path()), [NAME]);
    }

    #[test]
    fn a_file_that_is_damaged_anywhere_is_empty() {
        let (dir, folder) = written(&[1, 2]);
        let file = dir.path().join(NAME);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            fs::write(&file, &bad).unwrap();
            assert!(read(&folder, &dir).entries.is_empty(), "byte {at}");
            fs::write(&file, &good[..at]).unwrap();
            assert!(read(&folder, &dir).entries.is_empty(), "cut at {at}");
        }
        fs::write(&file, &good).unwrap();
        assert_eq!(read(&folder, &dir).entries.len(), 2);
    }

    #[test]
    fn a_file_that_others_could_have_written_is_ignored() {
        let (dir, folder) = written(&[1]);
        let file = dir.path().join(NAME);
        for (mode, count) in [(0o620, 0), (0o602, 0), (0o644, 1)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&folder, &dir).entries.len(), count, "{mode:o}");
        }
        let moved = dir.path().join("moved");
        fs::rename(&file, &moved).unwrap();
        symlink(&moved, &file).unwrap();
        assert!(read(&folder, &dir).entries.is_empty());
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert!(read(&folder, &dir).entries.is_empty());
        fs::rename(&moved, &file).unwrap();
        if root_can_judge() {
            chown(&file, Some(61_002), None).unwrap();
            assert!(read(&folder, &dir).entries.is_empty());
        }
    }
}
