//! `--quota BYTES`: the total size of all files below the root.
//!
//! The files are counted again for each upload, at its beginning and before it becomes visible,
//! because a stored sum could be wrong. The root is locked (flock(2)) from the second count until
//! the file has its name, so that uploads that end at the same time do not exceed the quota
//! together.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::atomic_file::AtomicFile;
use super::root::Root;

/// Bytes that even an empty file counts, and a folder, because its name and inode take space too. Otherwise the
/// number of empty files and folders would be unlimited.
const MIN_COUNTED: u64 = 512;
/// Unit of st_blocks in stat(2), in bytes.
const STAT_BLOCK: u64 = 512;
/// Deepest nesting of folders that is counted, each with a descriptor; deeper ones have no room.
const MAX_DEPTH: usize = 128;

/// The quota of a root.
#[derive(Debug)]
pub struct Quota {
    root: OwnedFd,
    /// Bytes.
    limit: u64,
}

/// The lock held while a file is published, until dropped.
#[derive(Debug)]
pub struct QuotaLock {
    _locked: OwnedFd,
}

impl Quota {
    /// Creates a quota of `limit` bytes for all files below the root.
    ///
    /// # Errors
    /// dup(2) fails.
    pub fn new(root: &Root, limit: u64) -> io::Result<Quota> {
        Ok(Quota { root: root.folder().try_clone()?, limit })
    }

    /// Returns the largest size in bytes for the file `name` in `folder`. The file that it replaces
    /// does not count.
    ///
    /// # Errors
    /// The root cannot be read.
    pub fn left_for(&self, folder: impl AsFd, name: &[u8]) -> nix::Result<u64> {
        let used = bytes_below(self.open()?, MAX_DEPTH)?;
        Ok(self.limit.saturating_sub(used.saturating_sub(bytes_of(folder, name))))
    }

    /// Checks that there is room for a file and for the folders in its name.
    ///
    /// # Errors
    /// EDQUOT; or the root cannot be read.
    pub fn check_folders_of(&self, name: &[u8]) -> nix::Result<()> {
        let parts = name.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
        let wanted = (parts.count() as u64).saturating_mul(MIN_COUNTED);
        let used = bytes_below(self.open()?, MAX_DEPTH)?;
        if used.saturating_add(wanted) > self.limit { Err(Errno::EDQUOT) } else { Ok(()) }
    }

    /// Waits for the lock to publish a file under this name.
    ///
    /// # Errors
    /// EDQUOT if the file is over the quota.
    pub fn lock(&self, file: &AtomicFile, name: &[u8]) -> io::Result<QuotaLock> {
        let locked = self.open()?;
        sys::flock::lock(&locked)?;
        if file.size()?.max(MIN_COUNTED) > self.left_for(file.folder(), name)? {
            return Err(Errno::EDQUOT.into());
        }
        Ok(QuotaLock { _locked: locked })
    }

    fn open(&self) -> nix::Result<OwnedFd> {
        open_folder(&self.root, c".")
    }
}

fn open_folder(folder: impl AsFd, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// Adds up the files and folders in a folder, recursively. What is in folders that this user may not read, into which it
/// writes nothing either, or that were removed meanwhile, counts nothing.
///
/// # Errors
/// EDQUOT where folders are nested too deeply; or a folder cannot be read for another reason.
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
            SFlag::S_IFDIR => {
                let depth = depth.checked_sub(1).ok_or(Errno::EDQUOT)?;
                let below = match open_folder(&folder, &name) {
                    Err(Errno::EACCES | Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => 0,
                    opened => bytes_below(opened?, depth)?,
                };
                below.saturating_add(MIN_COUNTED)
            }
            _ => 0,
        });
    }
    Ok(bytes)
}

/// Returns the bytes that the file of this name counts, 0 if it does not exist.
fn bytes_of(folder: impl AsFd, name: &[u8]) -> u64 {
    let status = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    let regular = status.ok().filter(|status| file_type(status) == SFlag::S_IFREG);
    regular.map_or(0, |status| counted(&status))
}

fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

/// Returns the bytes that a file counts. Holes count nothing.
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

    /// Writes a file and syncs it, because before that it may have no blocks.
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
        assert_eq!(room(&dir, "new"), 7000 - 2 * 512, "two folders");
        assert_eq!(room(&dir, "a"), 8000 - 2 * 512, "a replaced file does not count");
        file(&dir, "empty", 0);
        assert_eq!(room(&dir, "new"), 7000 - 3 * 512);
        file(&dir, "more", 9000);
        assert_eq!(room(&dir, "new"), 0);
    }

    #[test]
    fn nothing_hides_below_many_folders() {
        let dir = TempDir::new();
        let mut deep = vec!["d"; MAX_DEPTH].join("/");
        fs::create_dir_all(dir.path().join(&deep)).unwrap();
        file(&dir, &format!("{deep}/x"), 1000);
        let quota = quota(&dir, 100_000);
        let left = || quota.left_for(File::open(dir.path()).unwrap(), b"new");
        assert_eq!(left(), Ok(100_000 - MAX_DEPTH as u64 * 512 - 1000));
        deep += "/d";
        fs::create_dir(dir.path().join(&deep)).unwrap();
        assert_eq!(left(), Err(Errno::EDQUOT));
    }

    #[test]
    fn folders_have_room_or_are_not_made() {
        let dir = TempDir::new();
        let quota = quota(&dir, 3 * 512);
        assert_eq!(quota.check_folders_of(b"/a/b//x"), Ok(()));
        assert_eq!(quota.check_folders_of(b"a/b/c/x"), Err(Errno::EDQUOT));
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(quota.check_folders_of(b"b/c/x"), Err(Errno::EDQUOT));
        assert_eq!(quota.check_folders_of(b"b/x"), Ok(()));
    }

    #[test]
    fn holes_count_nothing() {
        let dir = TempDir::new();
        let path = dir.file("sparse", "");
        File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(room(&dir, "new"), 10_000 - 512);
    }

    #[test]
    fn the_lock_is_granted_within_the_quota_and_released_after_publishing() {
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
