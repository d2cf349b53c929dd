//! `--quota BYTES`: what all files below the root may have together.
//!
//! They are counted again for each upload, at its beginning and before it becomes visible, because
//! a stored sum could be wrong. While the second count is made and the file gets its name, the root
//! is locked (flock(2)), so that uploads which end at the same time do not exceed the quota
//! together.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::atomic_file::AtomicFile;
use super::root::Root;

/// Least bytes that a file counts: the disk keeps its name too, and otherwise the number of empty
/// files would be unlimited.
const MIN_COUNTED: u64 = 512;
/// Bytes of a block in stat(2).
const STAT_BLOCK: u64 = 512;
/// Deepest folder within folders that is counted. openat2(2) finds none that is deeper and that a
/// name of 4095 bytes does not reach.
const MAX_DEPTH: usize = 128;

/// The quota of a root.
#[derive(Debug)]
pub struct Quota {
    root: OwnedFd,
    /// Bytes.
    limit: u64,
}

/// The right to publish a file, until it is dropped.
#[derive(Debug)]
pub struct QuotaLock {
    _lock: Flock<OwnedFd>,
}

impl Quota {
    /// Makes a quota of `limit` bytes for everything below the root.
    ///
    /// # Errors
    /// There is no descriptor for it.
    pub fn new(root: &Root, limit: u64) -> io::Result<Quota> {
        Ok(Quota { root: root.folder().try_clone()?, limit })
    }

    /// Returns how long a file may be that is called `name` in `folder` and replaces what has the
    /// name now.
    ///
    /// # Errors
    /// The folders cannot be read.
    pub fn left_for(&self, folder: impl AsFd, name: &[u8]) -> nix::Result<u64> {
        let used = bytes_below(self.open()?, MAX_DEPTH)?;
        Ok(self.limit.saturating_sub(used.saturating_sub(bytes_of(folder, name))))
    }

    /// Waits for the lock to publish a file under this name.
    ///
    /// # Errors
    /// EDQUOT: the file is over the quota.
    pub fn lock(&self, file: &AtomicFile, name: &[u8]) -> io::Result<QuotaLock> {
        let root = self.open()?;
        let lock = Flock::lock(root, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        if file.size()?.max(MIN_COUNTED) > self.left_for(file.folder(), name)? {
            return Err(Errno::EDQUOT.into());
        }
        Ok(QuotaLock { _lock: lock })
    }

    fn open(&self) -> nix::Result<OwnedFd> {
        open_folder(&self.root, c".")
    }
}

fn open_folder(folder: impl AsFd, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// Adds up the files in a folder and the folders in it. One that cannot be read, or is gone
/// meanwhile, counts nothing.
fn bytes_below(folder: OwnedFd, depth: usize) -> nix::Result<u64> {
    let mut folder = Dir::from_fd(folder)?;
    let mut names = Vec::new();
    for entry in folder.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    let mut bytes: u64 = 0;
    for name in names {
        let Ok(status) = fstatat(&folder, &*name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
        bytes = bytes.saturating_add(match file_type(&status) {
            SFlag::S_IFREG => counted(&status),
            SFlag::S_IFDIR if depth > 0 => {
                let below = open_folder(&folder, &name);
                below.and_then(|folder| bytes_below(folder, depth - 1)).unwrap_or(0)
            }
            _ => 0,
        });
    }
    Ok(bytes)
}

/// Returns what the file of this name counts; 0 where there is none.
fn bytes_of(folder: impl AsFd, name: &[u8]) -> u64 {
    let status = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    let regular = status.ok().filter(|status| file_type(status) == SFlag::S_IFREG);
    regular.map_or(0, |status| counted(&status))
}

fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

/// Returns what a file counts. Holes count nothing.
fn counted(status: &FileStat) -> u64 {
    let [length, blocks] =
        [status.st_size, status.st_blocks].map(|n| u64::try_from(n).unwrap_or(0));
    length.min(blocks.saturating_mul(STAT_BLOCK)).max(MIN_COUNTED)
}

#[cfg(test)]
mod tests {
    use super::super::atomic_file::IfExists;
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use testkit::TempDir;

    fn quota(dir: &TempDir, limit: u64) -> Quota {
        Quota::new(&Root::open(dir.path(), None).unwrap(), limit).unwrap()
    }

    fn room(dir: &TempDir, name: &str) -> u64 {
        quota(dir, 10_000).left_for(File::open(dir.path()).unwrap(), name.as_bytes()).unwrap()
    }

    /// Writes a file that is safe on the disk: until then it may have no blocks.
    fn file(dir: &TempDir, name: &str, bytes: usize) {
        let path = dir.file(name, vec![1; bytes]);
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
        let written = |bytes| {
            let mut file = AtomicFile::create(File::open(dir.path()).unwrap().into()).unwrap();
            file.write_all(&vec![1; bytes]).unwrap();
            file
        };
        let (one, two) = (written(1500), written(501));
        let lock = quota.lock(&one, b"one").unwrap();
        one.publish(b"one", IfExists::Fail).unwrap();
        drop(lock);
        let error = quota.lock(&two, b"two").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EDQUOT as i32));
        drop(quota.lock(&two, b"one").unwrap());
        drop(quota.lock(&written(500), b"two").unwrap_err()); // 512 at least
    }
}
