//! Folders by descriptor.
//!
//! A path is walked one component after the other, each opened by the descriptor of the folder before it.
//! So nothing that another user changes meanwhile leads elsewhere: what was checked is what is used.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fsync};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};

/// open(2) flags for a component, which may be a symbolic link: a descriptor of the link itself.
const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// open(2) flags for a folder that is to be used.
const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Symbolic links on the way of one path, as the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Rights of group and others to change what is in a folder.
const OTHERS_WRITE: u32 = 0o022;

/// A folder that is open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    /// For messages only.
    path: PathBuf,
}

/// Where a walk has come to.
#[derive(Debug)]
pub struct Walked {
    /// The last folder that is there.
    pub folder: Folder,
    /// The components that are not; none where the whole path is there.
    pub missing: Vec<OsString>,
}

impl Folder {
    /// Walks an absolute path. `entered` is called with each folder on the way, `/` and the last one
    /// included, before anything in it is looked at; it may give up rights.
    ///
    /// A symbolic link is followed where root made it and only root can change the folders up to it;
    /// every other one is refused.
    ///
    /// # Errors
    /// [`Error::Io`] names the component; [`Error::Refused`] for `..` and for a path that is not absolute.
    pub fn walk(path: &Path, mut entered: impl FnMut(&Folder) -> Result<()>) -> Result<Walked> {
        let mut names: VecDeque<OsString> = components(path)?.into();
        let mut at = Folder::root()?;
        let mut is_roots_alone = at.is_roots_alone()?;
        entered(&at)?;
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            let path = at.path.join(&name);
            let fd = match retry_eintr(|| openat(&at.fd, name.as_os_str(), STEP, Mode::empty())) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => {
                    names.push_front(name);
                    return Ok(Walked { folder: at, missing: names.into() });
                }
                Err(errno) => return Err(Error::io("open", &path)(errno)),
            };
            let stat = fstat(&fd).map_err(Error::io("stat", &path))?;
            match kind(&stat) {
                SFlag::S_IFDIR => {
                    at = Folder { fd, path };
                    is_roots_alone = is_roots_alone && is_changed_by_root_alone(&stat);
                    entered(&at)?;
                }
                SFlag::S_IFLNK => {
                    links += 1;
                    if !is_roots_alone || stat.st_uid != 0 || links > MAX_LINKS {
                        return Err(Error::io("open", &path)(Errno::ELOOP));
                    }
                    let target = readlinkat(&fd, "").map_err(Error::io("readlink", &path))?;
                    let target = PathBuf::from(target);
                    if target.is_absolute() {
                        at = Folder::root()?;
                        is_roots_alone = at.is_roots_alone()?;
                        components(&target)?.into_iter().rev().for_each(|it| names.push_front(it));
                    } else {
                        relative(&target)?.into_iter().rev().for_each(|it| names.push_front(it));
                    }
                }
                _ => return Err(Error::io("open", &path)(Errno::ENOTDIR)),
            }
        }
        Ok(Walked { folder: at, missing: Vec::new() })
    }

    fn root() -> Result<Folder> {
        let path = PathBuf::from("/");
        let fd = retry_eintr(|| openat(AT_FDCWD, "/", STEP, Mode::empty()));
        Ok(Folder { fd: fd.map_err(Error::io("open", &path))?, path })
    }

    fn is_roots_alone(&self) -> Result<bool> {
        Ok(is_changed_by_root_alone(&self.stat()?))
    }

    fn stat(&self) -> Result<FileStat> {
        fstat(&self.fd).map_err(Error::io("stat", &self.path))
    }

    /// Returns the owner of this folder.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn owner(&self) -> Result<(Uid, Gid)> {
        let stat = self.stat()?;
        Ok((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)))
    }

    /// Returns the path that it was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder in this one, which is no symbolic link.
    ///
    /// # Errors
    /// [`Error::Io`] names it.
    pub fn enter(&self, name: &OsStr) -> Result<Folder> {
        let path = self.path.join(name);
        let fd = retry_eintr(|| openat(&self.fd, name, FOLDER, Mode::empty()));
        Ok(Folder { fd: fd.map_err(Error::io("open", &path))?, path })
    }

    /// Opens this folder for reading: a walk's descriptor shows where it is, and no more.
    ///
    /// # Errors
    /// [`Error::Io`] names it.
    pub fn reopen(&self) -> Result<Folder> {
        let fd = retry_eintr(|| openat(&self.fd, ".", FOLDER, Mode::empty()));
        Ok(Folder { fd: fd.map_err(Error::io("open", &self.path))?, path: self.path.clone() })
    }

    /// Gives the descriptor away.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Makes a folder in this one where there is none, mode 0700, on the disk when this returns; opens it.
    ///
    /// # Errors
    /// [`Error::Io`] names it.
    pub fn make(&self, name: &OsStr) -> Result<Folder> {
        let path = self.path.join(name);
        match mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) => self.enter(OsStr::new("."))?.sync()?,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::io("mkdir", &path)(errno)),
        }
        self.enter(name)
    }

    /// Waits until the folder is on the disk.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> Result<()> {
        retry_eintr(|| fsync(&self.fd)).map_err(Error::io("fsync", &self.path))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The names of an absolute path.
fn components(path: &Path) -> Result<Vec<OsString>> {
    match path.strip_prefix("/") {
        Ok(rest) => relative(rest),
        Err(_) => Err(Error::Refused(format!("{}: not an absolute path", path.display()))),
    }
}

/// The names of a relative path.
fn relative(path: &Path) -> Result<Vec<OsString>> {
    let name = |component| match component {
        Component::Normal(name) => Some(Ok(name.to_os_string())),
        Component::CurDir => None,
        _ => Some(Err(Error::Refused(format!("{}: '..' is not followed", path.display())))),
    };
    path.components().filter_map(name).collect()
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT)
}

/// True for a folder in which only root can put a link.
fn is_changed_by_root_alone(stat: &FileStat) -> bool {
    stat.st_uid == 0 && stat.st_mode & OTHERS_WRITE == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};
    use testkit::TempDir;

    /// A folder whose way is root's alone, which one below /tmp is not; none for an ordinary user.
    fn roots_own() -> Option<TempDir> {
        nix::unistd::geteuid().is_root().then(|| TempDir::below(Path::new("/run")))
    }

    fn walk(path: &Path) -> Result<Walked> {
        Folder::walk(path, |_| Ok(()))
    }

    #[test]
    fn a_walk_ends_at_the_folder_or_tells_what_is_missing() {
        let dir = TempDir::new();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let mut seen = Vec::new();
        let walked = Folder::walk(&dir.path().join("a/./b/c/d"), |folder| {
            seen.push(folder.path().to_owned());
            Ok(())
        });
        let walked = walked.unwrap();
        assert_eq!(walked.folder.path(), dir.path().join("a/b"));
        assert_eq!(walked.missing, ["c", "d"]);
        assert_eq!(seen.first().map(PathBuf::as_path), Some(Path::new("/")));
        assert_eq!(seen.last(), Some(&dir.path().join("a/b")));
        for wrong in ["a", "", "/a/../b"] {
            assert!(matches!(walk(Path::new(wrong)), Err(Error::Refused(_))), "{wrong}");
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = walk(&dir.path().join("file/x")).unwrap_err();
        assert!(error.to_string().ends_with("file: Not a directory"), "{error}");
    }

    #[test]
    fn a_link_that_another_user_could_have_put_there_is_not_followed() {
        let dir = TempDir::new();
        std::fs::create_dir(dir.path().join("there")).unwrap();
        symlink("there", dir.path().join("link")).unwrap();
        let error = walk(&dir.path().join("link")).unwrap_err(); // all users may write to /tmp
        assert!(error.to_string().ends_with("link: Too many levels of symbolic links"), "{error}");
    }

    #[test]
    fn a_link_of_roots_in_folders_of_roots_is_followed() {
        let Some(dir) = roots_own() else { return };
        std::fs::create_dir_all(dir.path().join("real/levy")).unwrap();
        symlink("real", dir.path().join("relative")).unwrap();
        symlink(dir.path().join("real"), dir.path().join("absolute")).unwrap();
        symlink("circle", dir.path().join("circle")).unwrap();
        for link in ["relative", "absolute"] {
            let walked = walk(&dir.path().join(link).join("levy")).unwrap();
            assert!(walked.missing.is_empty());
            assert_eq!(walked.folder.path(), dir.path().join("real/levy"));
        }
        assert!(walk(&dir.path().join("circle")).is_err());
        // The same link in a folder that is another user's, or that others may write to.
        let real = dir.path().join("real");
        symlink("levy", real.join("link")).unwrap();
        assert!(walk(&real.join("link")).is_ok());
        chown(&real, Some(65_534), None).unwrap();
        assert!(walk(&real.join("link")).is_err());
    }
}
