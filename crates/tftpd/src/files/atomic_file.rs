//! A file that appears under its name complete and durable, or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use sys::sync_file_range::start_writing;

use super::temp_name::{remove_left, with_unused_name};

/// Interval in bytes at which writeback to the disk is started. Otherwise the final fsync may have
/// to write the whole file, which on a slow disk takes longer than a client waits for its last ACK.
const WRITEBACK_INTERVAL: u64 = 4 << 20;
/// Permissions of a new file before the umask.
const NEW_PERMISSIONS: Mode = Mode::from_bits_truncate(0o666);
/// Mode bits that a replacement keeps.
const KEPT_PERMISSIONS: Mode = Mode::from_bits_truncate(0o777);

/// What [`AtomicFile::publish`] does if the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// Keeps the existing file and fails with EEXIST, even if that file was created after the new
    /// one.
    Fail,
    /// Replaces the existing file in one step.
    Replace,
    /// Keeps the existing file, and takes the first of `NAME.1`, `NAME.2`, … that is free.
    Number,
    /// Keeps the existing file, and takes `NAME.20261130T161500Z`, the time in UTC, with a number after it if that
    /// is taken too.
    Date,
}

/// Most numbers that are tried after a name.
const MAX_NUMBER: u32 = 9999;

/// A file being written in the folder where it will appear.
///
/// If the file system supports O_TMPFILE, the file has no name until it is published, so even a
/// killed process leaves nothing behind. Otherwise (NFS, old kernels, no /proc) it has a temporary
/// name, see [`super::temp_name`]. The name is removed on drop, but SIGKILL leaves it.
/// SIGKILL also leaves it between the last two system calls of a replacement, because no system
/// call links a nameless file over an existing one.
#[derive(Debug)]
pub struct AtomicFile {
    folder: OwnedFd,
    file: File,
    /// The temporary name, if the file has one.
    temp_name: Option<Vec<u8>>,
    /// Bytes written so far.
    written: u64,
    /// Bytes for which writeback was started.
    writeback_started: u64,
}

impl AtomicFile {
    /// Creates a file in `folder`, which must be open for reading (for its fsync).
    ///
    /// # Errors
    /// open(2) fails.
    pub fn create(folder: OwnedFd) -> nix::Result<AtomicFile> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let nameless = || openat(&folder, c".", flags | OFlag::O_TMPFILE, NEW_PERMISSIONS);
        match retry_on_eintr(nameless) {
            // Without /proc linkat(2) could not name the file later.
            Ok(fd) if Path::new(&proc_path(&fd)).exists() => Ok(AtomicFile::new(folder, fd, None)),
            // EISDIR means a kernel without O_TMPFILE, EOPNOTSUPP a file system without it.
            Ok(_) | Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => {
                AtomicFile::create_named(folder)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Creates a file with a temporary name, and removes those that killed processes have left.
    fn create_named(folder: OwnedFd) -> nix::Result<AtomicFile> {
        let _ = remove_left(&folder); // best effort
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_CREAT | OFlag::O_EXCL;
        let create = |name: &[u8]| retry_on_eintr(|| openat(&folder, name, flags, NEW_PERMISSIONS));
        let (name, fd) = with_unused_name(create)?;
        let _ = sys::flock::try_lock(&fd); // best effort: tells that it is being written
        Ok(AtomicFile::new(folder, fd, Some(name)))
    }

    fn new(folder: OwnedFd, file: OwnedFd, temp_name: Option<Vec<u8>>) -> AtomicFile {
        AtomicFile { folder, file: file.into(), temp_name, written: 0, writeback_started: 0 }
    }

    /// Returns the temporary name, which a killed process leaves behind.
    #[must_use]
    pub fn temp_name(&self) -> Option<&[u8]> {
        self.temp_name.as_deref()
    }

    /// Returns the folder where the file will appear.
    #[must_use]
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Returns the bytes written so far.
    ///
    /// # Errors
    /// fstat(2) fails.
    pub fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    /// Gives the file the permission bits of `mode`, that of the file it will replace.
    ///
    /// # Errors
    /// fchmod(2) fails.
    pub fn copy_permissions(&self, mode: u32) -> nix::Result<()> {
        fchmod(&self.file, Mode::from_bits_truncate(mode) & KEPT_PERMISSIONS)
    }

    /// Makes the file durable and gives it its name: fsync, link or rename, fsync of the folder.
    /// After success the file survives a power failure. Returns its name, which is another one if `if_exists` says so.
    ///
    /// # Errors
    /// EEXIST with [`IfExists::Fail`], or the errno of a system call. The existing file is then
    /// untouched, unless an fsync failed after the rename.
    pub fn publish(mut self, name: &[u8], if_exists: IfExists) -> io::Result<Vec<u8>> {
        self.file.sync_all()?;
        let mut stored = name.to_vec();
        match self.link_new(name) {
            Err(Errno::EEXIST) => match if_exists {
                IfExists::Fail => return Err(Errno::EEXIST.into()),
                IfExists::Replace => self.replace(name)?,
                IfExists::Number => stored = self.link_numbered(name, 1)?,
                IfExists::Date => {
                    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
                    stored = self.link_numbered(&[name, b".", now.as_bytes()].concat(), 0)?;
                }
            },
            result => result?,
        }
        // A second fsync, because not every file system journals a file without a name.
        self.file.sync_all()?;
        retry_on_eintr(|| nix::unistd::fsync(&self.folder))?;
        Ok(stored)
    }

    /// Names the file by the first name that is free: with a number after it, from this one on; 0 stands for none.
    /// Returns the name.
    fn link_numbered(&mut self, name: &[u8], first: u32) -> nix::Result<Vec<u8>> {
        for number in first..=MAX_NUMBER {
            let name = match number {
                0 => name.to_vec(),
                number => [name, format!(".{number}").as_bytes()].concat(),
            };
            match self.link_new(&name) {
                Err(Errno::EEXIST) => {}
                result => return result.map(|()| name),
            }
        }
        Err(Errno::EEXIST)
    }

    /// Names the file, unless the name is taken.
    fn link_new(&mut self, name: &[u8]) -> nix::Result<()> {
        let Some(temp_name) = &self.temp_name else { return self.link(name) };
        match renameat2(
            &self.folder,
            &temp_name[..],
            &self.folder,
            name,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            // The file system lacks RENAME_NOREPLACE; link(2) never replaces either.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                linkat(&self.folder, &temp_name[..], &self.folder, name, AtFlags::empty())
            }
            Ok(()) => {
                self.temp_name = None;
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Replaces the file of that name. A nameless file gets a temporary name first, because link(2)
    /// never replaces a file and rename(2) needs a name.
    fn replace(&mut self, name: &[u8]) -> nix::Result<()> {
        let temp_name = match self.temp_name.take() {
            Some(temp_name) => temp_name,
            None => with_unused_name(|temp_name| self.link(temp_name))?.0,
        };
        self.temp_name = Some(temp_name.clone());
        renameat(&self.folder, &temp_name[..], &self.folder, name)?;
        self.temp_name = None;
        Ok(())
    }

    /// Returns whether this name in the folder refers to this file.
    fn is_named(&self, name: &[u8]) -> bool {
        let there = fstatat(&self.folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let is_same = |(one, other): (FileStat, FileStat)| {
            (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        };
        there.and_then(|there| Ok((there, fstat(&self.file)?))).is_ok_and(is_same)
    }

    /// Links a nameless file through /proc, which needs no privilege (open(2), O_TMPFILE).
    fn link(&self, name: &[u8]) -> nix::Result<()> {
        let from = proc_path(&self.file);
        linkat(&self.folder, &from[..], &self.folder, name, AtFlags::AT_SYMLINK_FOLLOW)
    }
}

/// Repeats a system call that a signal interrupted. That happens to open(2) on NFS and FUSE.
fn retry_on_eintr<T>(call: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

fn proc_path(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        let waiting = self.written - self.writeback_started;
        if waiting >= WRITEBACK_INTERVAL {
            // best effort: fsync writes the rest
            let _ = start_writing(&self.file, self.writeback_started, waiting);
            self.writeback_started = self.written;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // A helper process may have published the file, and another process may use the name now.
        if let Some(name) = self.temp_name.take().filter(|name| self.is_named(name)) {
            // best effort
            let _ = unlinkat(self.folder.as_fd(), &name[..], UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use testkit::{TempDir, names};

    type Create = fn(OwnedFd) -> nix::Result<AtomicFile>;
    const BOTH_WAYS: [Create; 2] = [AtomicFile::create, AtomicFile::create_named];

    fn create(dir: &TempDir, create: Create, text: &str) -> AtomicFile {
        let folder = File::open(dir.path()).unwrap().into();
        let mut file = create(folder).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_published_file_is_complete_and_leaves_no_temporary_name() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            let file = create(&dir, way, "new");
            assert!(!dir.path().join("name").exists());
            file.publish(b"name", IfExists::Fail).unwrap();
            assert_eq!(fs::read(dir.path().join("name")).unwrap(), b"new");
            assert_eq!(names(dir.path()), ["name"]);
        }
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            drop(create(&dir, way, "half"));
            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn dropping_a_file_that_another_process_published_keeps_a_reused_temporary_name() {
        let dir = TempDir::new();
        let one = create(&dir, AtomicFile::create_named, "one");
        let hidden = names(dir.path()).remove(0);
        fs::rename(dir.path().join(&hidden), dir.path().join("one")).unwrap();
        dir.file(&hidden, "another process's");
        drop(one);
        assert_eq!(names(dir.path()), [hidden.as_str(), "one"]);
    }

    #[test]
    fn one_process_has_as_many_temporary_names_as_it_needs() {
        let dir = TempDir::new();
        let made: Vec<_> = (0..300).map(|_| create(&dir, AtomicFile::create_named, "x")).collect();
        assert_eq!(names(dir.path()).len(), made.len());
    }

    #[test]
    fn of_two_files_published_without_replacing_the_first_wins() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            let (one, two) = (create(&dir, way, "one"), create(&dir, way, "two"));
            two.publish(b"name", IfExists::Fail).unwrap();
            let error = one.publish(b"name", IfExists::Fail).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(dir.path().join("name")).unwrap(), b"two");
            assert_eq!(names(dir.path()), ["name"]);
        }
    }

    #[test]
    fn a_replacement_takes_the_place_of_the_old_file() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            let name = dir.path().join("name");
            fs::write(&name, "old").unwrap();
            let old = File::open(&name).unwrap();
            let file = create(&dir, way, "new");
            file.copy_permissions(0o640).unwrap();
            file.publish(b"name", IfExists::Replace).unwrap();
            assert_eq!(fs::read(&name).unwrap(), b"new");
            assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(
                io::read_to_string(old).unwrap(),
                "old",
                "a descriptor of the old file stays valid"
            );
            assert_eq!(names(dir.path()), ["name"]);
        }
    }

    #[test]
    fn a_folder_of_the_same_name_is_never_replaced() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            fs::create_dir(dir.path().join("name")).unwrap();
            let file = create(&dir, way, "new");
            assert!(file.publish(b"name", IfExists::Replace).is_err());
            assert_eq!(names(dir.path()), ["name"]);
        }
    }
}
