//! `--quota BYTES`: what all files below the root may have together.
//!
//! They are counted anew for each upload, at its beginning and again before it becomes visible: no
//! book is kept that could be wrong. While the second count is made and the file put into its
//! place, the root is locked (flock(2)), so that uploads which end at once do not exceed the quota
//! together.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use crate::draft::Draft;
use crate::root::Root;

/// A file counts as so much at least: the disk keeps its name too, and empty files would be without
/// number.
const LEAST: u64 = 512;
/// Octets of what stat(2) calls a block.
const BLOCK: u64 = 512;
/// Folders within folders that are counted; openat2(2) finds none deeper that a name of 4095 octets
/// does not reach.
const MAX_DEPTH: usize = 128;

/// The quota of a root.
#[derive(Debug)]
pub struct Quota {
    root: OwnedFd,
    limit: u64,
}

/// The right to put a file into its place, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _lock: Flock<OwnedFd>,
}

impl Quota {
    /// So many octets for all that is below the root.
    ///
    /// # Errors
    /// There is no descriptor for it.
    pub fn of(root: &Root, limit: u64) -> io::Result<Quota> {
        Ok(Quota { root: root.folder().try_clone()?, limit })
    }

    /// How long a file may be that is called `name` in `folder` and replaces what has the name now.
    ///
    /// # Errors
    /// The folders cannot be read.
    pub fn room(&self, folder: impl AsFd, name: &[u8]) -> nix::Result<u64> {
        let used = count(self.open()?, MAX_DEPTH)?;
        Ok(self.limit.saturating_sub(used.saturating_sub(counted(folder, name))))
    }

    /// Waits for the turn of a file that is to get this name.
    ///
    /// # Errors
    /// EDQUOT: there is no room for it.
    pub fn turn(&self, draft: &Draft, name: &[u8]) -> io::Result<Turn> {
        let root = self.open()?;
        let lock = Flock::lock(root, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        if draft.octets()?.max(LEAST) > self.room(draft.folder(), name)? {
            return Err(Errno::EDQUOT.into());
        }
        Ok(Turn { _lock: lock })
    }

    fn open(&self) -> nix::Result<OwnedFd> {
        folder_in(&self.root, c".")
    }
}

fn folder_in(folder: impl AsFd, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// The octets of all files in a folder and the folders in it. One that cannot be read, or is gone
/// meanwhile, counts nothing.
fn count(folder: OwnedFd, depth: usize) -> nix::Result<u64> {
    let mut folder = Dir::from_fd(folder)?;
    let mut names = Vec::new();
    for entry in folder.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    let mut octets: u64 = 0;
    for name in names {
        let Ok(status) = fstatat(&folder, &*name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
        octets = octets.saturating_add(match kind(&status) {
            SFlag::S_IFREG => size(&status),
            SFlag::S_IFDIR if depth > 0 => {
                folder_in(&folder, &name).and_then(|folder| count(folder, depth - 1)).unwrap_or(0)
            }
            _ => 0,
        });
    }
    Ok(octets)
}

/// What a file counts; nothing where there is none.
fn counted(folder: impl AsFd, name: &[u8]) -> u64 {
    let status = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    status.ok().filter(|status| kind(status) == SFlag::S_IFREG).map_or(0, |status| size(&status))
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

/// Holes count nothing.
fn size(status: &FileStat) -> u64 {
    let [length, blocks] =
        [status.st_size, status.st_blocks].map(|n| u64::try_from(n).unwrap_or(0));
    length.min(blocks.saturating_mul(BLOCK)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use testkit::TempDir;

    fn quota(dir: &TempDir, limit: u64) -> Quota {
        Quota::of(&Root::open(dir.path(), None).unwrap(), limit).unwrap()
    }

    fn room(dir: &TempDir, name: &str) -> u64 {
        quota(dir, 10_000).room(File::open(dir.path()).unwrap(), name.as_bytes()).unwrap()
    }

    /// Writes a file that is safe on the disk: until then it may have no blocks.
    fn file(dir: &TempDir, name: &str, octets: usize) {
        let path = dir.file(name, vec![1; octets]);
        File::open(path).unwrap().sync_all().unwrap();
    }

    #[test]
    fn all_files_in_all_folders_count_and_links_do_not() {
        let dir = TempDir::new();
        assert_eq!(room(&dir, "new"), 10_000);
        file(&dir, "a", 1000);
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        file(&dir, "b/c/d", 2000);
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("b/etc")).unwrap();
        assert_eq!(room(&dir, "new"), 7000);
        assert_eq!(room(&dir, "a"), 8000, "what is replaced counts no more");
        file(&dir, "empty", 0);
        assert_eq!(room(&dir, "new"), 7000 - 512);
        file(&dir, "more", 9000);
        assert_eq!(room(&dir, "new"), 0);
    }

    #[test]
    fn holes_count_nothing() {
        let dir = TempDir::new();
        let path = dir.file("sparse", "");
        File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(room(&dir, "new"), 10_000 - 512);
    }

    #[test]
    fn a_turn_is_given_where_there_is_room_and_ends_with_the_file_in_its_place() {
        let dir = TempDir::new();
        let quota = quota(&dir, 2000);
        let draft = |octets| {
            let mut draft = Draft::begin(File::open(dir.path()).unwrap().into()).unwrap();
            draft.write_all(&vec![1; octets]).unwrap();
            draft
        };
        let (one, two) = (draft(1500), draft(501));
        let turn = quota.turn(&one, b"one").unwrap();
        one.publish(b"one", crate::draft::Existing::Keep).unwrap();
        drop(turn);
        let error = quota.turn(&two, b"two").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EDQUOT as i32));
        drop(quota.turn(&two, b"one").unwrap());
        drop(quota.turn(&draft(500), b"two").unwrap_err()); // 512 at least
    }
}
