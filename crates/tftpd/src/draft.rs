//! A file that appears under its name whole and durable, or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

/// How the names of temporary files begin. tftpd neither serves nor writes such names.
pub const PREFIX: &[u8] = b".tftp-new.";
/// Names tried for a temporary file before the folder is given up.
const MAX_NAMES: u32 = 100;
/// After so many octets the disk begins to write them: else all of a file may be left to the fsync in the
/// end, and on a slow disk that takes longer than a client waits for its last ACK.
const STRETCH: u64 = 4 << 20;
/// Permissions of a new file, less the umask.
const PERMISSIONS: Mode = Mode::from_bits_truncate(0o666);

/// What [`Draft::publish`] does with a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leaves it: EEXIST, even if it came only after the draft was begun.
    Keep,
    /// Replaces it in one step.
    Replace,
}

/// A file in the making, in the folder where it will appear.
///
/// It has no name at all where the file system can do that (O_TMPFILE): then even a process that
/// is killed leaves nothing behind. Otherwise (NFS, old kernels, no /proc) it has a hidden one
/// that begins with [`PREFIX`], removed when the draft is dropped; there a kill leaves it. So does
/// a kill in the one moment between the last two system calls of a replacement, when the complete
/// file has a hidden name and waits to take the old one's: no system call links a nameless file
/// over another.
#[derive(Debug)]
pub struct Draft {
    folder: OwnedFd,
    file: File,
    /// The temporary name, while there is one.
    hidden: Option<Vec<u8>>,
    /// Octets written so far, and those of them that the disk has been told of.
    written: u64,
    started: u64,
}

impl Draft {
    /// Begins a file in `folder`, which must be open for reading (for its fsync).
    ///
    /// # Errors
    /// What open(2) says.
    pub fn begin(folder: OwnedFd) -> nix::Result<Draft> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let nameless = || openat(&folder, c".", flags | OFlag::O_TMPFILE, PERMISSIONS);
        match uninterrupted(nameless) {
            // Without /proc the nameless file could not be given a name later.
            Ok(fd) if Path::new(&proc_path(&fd)).exists() => Ok(Draft::of(folder, fd, None)),
            // EISDIR: a kernel, EOPNOTSUPP: a file system that can't.
            Ok(_) | Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => {
                Draft::begin_hidden(folder)
            }
            Err(errno) => Err(errno),
        }
    }

    /// The same with a hidden name.
    fn begin_hidden(folder: OwnedFd) -> nix::Result<Draft> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_CREAT | OFlag::O_EXCL;
        let create = |name: &[u8]| uninterrupted(|| openat(&folder, name, flags, PERMISSIONS));
        let (name, fd) = with_new_name(create)?;
        Ok(Draft::of(folder, fd, Some(name)))
    }

    fn of(folder: OwnedFd, file: OwnedFd, hidden: Option<Vec<u8>>) -> Draft {
        Draft { folder, file: file.into(), hidden, written: 0, started: 0 }
    }

    /// The name that a process which ends meanwhile leaves behind, if it has one.
    #[must_use]
    pub fn hidden(&self) -> Option<&[u8]> {
        self.hidden.as_deref()
    }

    /// The folder where it will appear.
    #[must_use]
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Octets written so far.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn octets(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    /// Gives the file the permission bits of the one that it will replace.
    ///
    /// # Errors
    /// What fchmod(2) says.
    pub fn set_permissions(&self, bits: u32) -> nix::Result<()> {
        fchmod(&self.file, Mode::from_bits_truncate(bits))
    }

    /// Makes the file durable and gives it its name: fsync, link or rename, fsync of the folder.
    /// When this returns, the file is there even after a power cut.
    ///
    /// # Errors
    /// EEXIST with [`Existing::Keep`]; what the system calls say. The file that was there before
    /// is then untouched, unless it was an fsync after the new name that failed.
    pub fn publish(mut self, name: &[u8], existing: Existing) -> io::Result<()> {
        self.file.sync_all()?;
        match existing {
            Existing::Keep => self.appear(name)?,
            Existing::Replace => match self.appear(name) {
                Err(Errno::EEXIST) => self.replace(name)?,
                result => result?,
            },
        }
        // Once more, now that it has a name: not every file system logs a nameless one.
        self.file.sync_all()?;
        uninterrupted(|| nix::unistd::fsync(&self.folder))?;
        Ok(())
    }

    /// Gives the file a name that nobody has.
    fn appear(&mut self, name: &[u8]) -> nix::Result<()> {
        let Some(hidden) = &self.hidden else { return self.link(name) };
        match renameat2(
            &self.folder,
            &hidden[..],
            &self.folder,
            name,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            // A file system without RENAME_NOREPLACE: link(2) never replaces either.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                linkat(&self.folder, &hidden[..], &self.folder, name, AtFlags::empty())
            }
            Ok(()) => {
                self.hidden = None;
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Takes the name from the file that has it. A nameless file needs a hidden name for that
    /// moment: link(2) replaces nothing, and only rename(2) does it in one step.
    fn replace(&mut self, name: &[u8]) -> nix::Result<()> {
        let hidden = match self.hidden.take() {
            Some(hidden) => hidden,
            None => with_new_name(|hidden| self.link(hidden))?.0,
        };
        self.hidden = Some(hidden.clone());
        renameat(&self.folder, &hidden[..], &self.folder, name)?;
        self.hidden = None;
        Ok(())
    }

    /// True where this name in the folder is one of the file's own.
    fn has(&self, name: &[u8]) -> bool {
        let there = fstatat(&self.folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let is_it = |(one, other): (FileStat, FileStat)| {
            (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        };
        there.and_then(|there| Ok((there, fstat(&self.file)?))).is_ok_and(is_it)
    }

    /// linkat(2) of a nameless file, the way that needs no privilege (open(2), O_TMPFILE).
    fn link(&self, name: &[u8]) -> nix::Result<()> {
        let from = proc_path(&self.file);
        linkat(&self.folder, &from[..], &self.folder, name, AtFlags::AT_SYMLINK_FOLLOW)
    }
}

/// Octets that the disk has for the files of a folder. One that does not know how large it is, as a
/// tmpfs without a limit, has room for any.
///
/// # Errors
/// What fstatvfs(3) says.
pub fn space(folder: impl AsFd) -> nix::Result<u64> {
    let disk = fstatvfs(folder)?;
    if disk.blocks() == 0 {
        return Ok(u64::MAX);
    }
    let is_root = nix::unistd::geteuid().is_root(); // some blocks are root's alone
    let blocks = if is_root { disk.blocks_free() } else { disk.blocks_available() };
    Ok(blocks.saturating_mul(disk.fragment_size()))
}

/// Makes a system call again as long as a signal interrupts it, as std does by itself: open(2) may
/// be, where the file system is remote or a program (NFS, FUSE).
fn uninterrupted<T>(call: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
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

/// Tries `make` with hidden names until one is not taken.
fn with_new_name<T>(make: impl Fn(&[u8]) -> nix::Result<T>) -> nix::Result<(Vec<u8>, T)> {
    for attempt in 0..MAX_NAMES {
        let unique = format!("{}-{attempt}", std::process::id());
        let name = [PREFIX, unique.as_bytes()].concat();
        match make(&name) {
            Err(Errno::EEXIST) => (),
            result => return result.map(|made| (name, made)),
        }
    }
    Err(Errno::EEXIST)
}

impl Write for Draft {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.file.write(octets)?;
        self.written += written as u64;
        if self.written - self.started >= STRETCH {
            let stretch = self.written - self.started;
            let _later_then = forknet::start_writing(&self.file, self.started, stretch);
            self.started = self.written;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Another process may have put the file into its place; the name is then free for the next one.
        if let Some(hidden) = self.hidden.take().filter(|hidden| self.has(hidden)) {
            let _may_be_gone =
                unlinkat(self.folder.as_fd(), &hidden[..], UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use testkit::{TempDir, names};

    type Begin = fn(OwnedFd) -> nix::Result<Draft>;
    const BOTH_WAYS: [Begin; 2] = [Draft::begin, Draft::begin_hidden];

    fn begin(dir: &TempDir, begin: Begin, text: &str) -> Draft {
        let folder = File::open(dir.path()).unwrap().into();
        let mut draft = begin(folder).unwrap();
        draft.write_all(text.as_bytes()).unwrap();
        draft
    }

    #[test]
    fn a_draft_appears_whole_under_its_name_and_leaves_nothing_else() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            let draft = begin(&dir, way, "new");
            assert!(!dir.path().join("name").exists());
            draft.publish(b"name", Existing::Keep).unwrap();
            assert_eq!(fs::read(dir.path().join("name")).unwrap(), b"new");
            assert_eq!(names(dir.path()), ["name"]);
        }
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            drop(begin(&dir, way, "half"));
            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_dropped_draft_that_another_process_has_published_leaves_the_next_one_its_name() {
        let dir = TempDir::new();
        let one = begin(&dir, Draft::begin_hidden, "one");
        let hidden = names(dir.path()).remove(0);
        fs::rename(dir.path().join(&hidden), dir.path().join("one")).unwrap();
        let two = begin(&dir, Draft::begin_hidden, "two");
        assert_eq!(names(dir.path()), [hidden.as_str(), "one"]);
        drop(one);
        two.publish(b"two", Existing::Keep).unwrap();
        assert_eq!(names(dir.path()), ["one", "two"]);
    }

    #[test]
    fn of_two_drafts_that_keep_what_exists_the_first_wins() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            let (one, two) = (begin(&dir, way, "one"), begin(&dir, way, "two"));
            two.publish(b"name", Existing::Keep).unwrap();
            let error = one.publish(b"name", Existing::Keep).unwrap_err();
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
            let draft = begin(&dir, way, "new");
            draft.set_permissions(0o640).unwrap();
            draft.publish(b"name", Existing::Replace).unwrap();
            assert_eq!(fs::read(&name).unwrap(), b"new");
            assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(io::read_to_string(old).unwrap(), "old", "who had it open reads on");
            assert_eq!(names(dir.path()), ["name"]);
        }
    }

    #[test]
    fn a_folder_in_the_way_is_never_replaced() {
        for way in BOTH_WAYS {
            let dir = TempDir::new();
            fs::create_dir(dir.path().join("name")).unwrap();
            let draft = begin(&dir, way, "new");
            assert!(draft.publish(b"name", Existing::Replace).is_err());
            assert_eq!(names(dir.path()), ["name"]);
        }
    }
}
