//! Folders by descriptor.
//!
//! A path is walked one component after the other, each opened by the descriptor of the folder before it.
//! So nothing that another user changes meanwhile leads elsewhere: what was checked is what is used.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, OFlag, OpenHow, RenameFlags, ResolveFlag, openat, openat2, readlinkat, renameat2,
};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, syncfs, unlinkat};
use sys::getdents::entries;
use sys::io_submit::fsync_each;
use sys::statx::birth_time;

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::file_name::NameMaker;

/// open(2) flags for a component, which may be a symbolic link: a descriptor of the link itself.
const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// open(2) flags for a folder that is to be used.
const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// open(2) flags for a file that is to be read.
const FILE: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);
/// Symbolic links on the way of one path, as the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Rights of group and others to change what is in a folder.
const OTHERS_WRITE: u32 = 0o022;
/// Right of the group to do so, a bit of the mode.
const GROUP_WRITE: u32 = 0o020;
/// Age in seconds from which a folder is on the disk: the kernel writes what changed within a minute.
const MAY_BE_NEW: i64 = 60 * 60;

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

    /// As [`Folder::walk`]; where there is no link on the way, with one call of openat2(2) (Linux 5.6).
    ///
    /// # Errors
    /// As [`Folder::walk`].
    pub fn find(path: &Path) -> Result<Walked> {
        let is_plain =
            path.is_absolute() && !path.components().any(|it| it == Component::ParentDir);
        let how = OpenHow::new().flags(STEP | OFlag::O_DIRECTORY);
        let how = how.resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        match is_plain.then(|| openat2(AT_FDCWD, path, how)) {
            Some(Ok(fd)) => {
                let folder = Folder { fd, path: path.to_owned() };
                Ok(Walked { folder, missing: Vec::new() })
            }
            // The walk finds out what is wrong, and which link may be followed.
            _ => Folder::walk(path, |_| Ok(())),
        }
    }

    /// Opens a folder by its path, and follows links in it: for a path of the user who runs this.
    ///
    /// # Errors
    /// [`Error::Io`] names it.
    pub fn open(path: &Path) -> Result<Folder> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = retry_eintr(|| openat(AT_FDCWD, path, flags, Mode::empty()));
        Ok(Folder { fd: fd.map_err(Error::io("open", path))?, path: path.to_owned() })
    }

    fn root() -> Result<Folder> {
        let path = PathBuf::from("/");
        let fd = retry_eintr(|| openat(AT_FDCWD, "/", STEP, Mode::empty()));
        Ok(Folder { fd: fd.map_err(Error::io("open", &path))?, path })
    }

    /// Returns whether only root can change what is in this folder.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn is_roots_alone(&self) -> Result<bool> {
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

    /// Returns the mode of this folder.
    ///
    /// # Errors
    /// As fstat(2).
    pub(crate) fn mode(&self) -> Result<u32> {
        Ok(self.stat()?.st_mode)
    }

    /// Returns the group whose members can make files in this folder of root's, as `mail` can in /var/mail;
    /// `None` where the folder is another user's, or the group is root's.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn spool_group(&self) -> Result<Option<Gid>> {
        let stat = self.stat()?;
        let is_groups = stat.st_mode & GROUP_WRITE != 0 && stat.st_gid != 0;
        Ok((stat.st_uid == 0 && is_groups).then(|| Gid::from_raw(stat.st_gid)))
    }

    /// Returns whether nothing is in this folder. One that has folders need not be readable for that, where the file
    /// system counts them.
    ///
    /// # Errors
    /// As fstat(2), openat(2), readdir(3).
    pub fn is_empty(&self) -> Result<bool> {
        // The link count of a folder: its name, its `.`, and the `..` of each folder in it.
        if self.stat()?.st_nlink > 2 {
            return Ok(false);
        }
        let mut is_empty = true;
        let opened = self.reopen()?;
        entries(&opened.fd, |_| is_empty = false).map_err(Error::io("read", &self.path))?;
        Ok(is_empty)
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

    /// Opens a regular file in this folder for reading, of this user's or root's, to which no other user may write. No
    /// symbolic link is followed, and no FIFO waited for. `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] names it; [`Error::Temporary`] says what is wrong with it.
    pub fn open_own(&self, name: &OsStr, uid: u32) -> Result<Option<OwnedFd>> {
        let path = self.path.join(name);
        let fd = match retry_eintr(|| openat(&self.fd, name, FILE, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("open", &path)(errno)),
        };
        let stat = fstat(&fd).map_err(Error::io("stat", &path))?;
        let wrong = match (kind(&stat), stat.st_uid, stat.st_mode & OTHERS_WRITE) {
            (SFlag::S_IFREG, owner, 0) if owner == uid || owner == 0 => return Ok(Some(fd)),
            (SFlag::S_IFREG, _, 0) => "belongs to another user",
            (SFlag::S_IFREG, ..) => "others than its owner may write to it",
            _ => "is not a regular file",
        };
        Err(Error::Temporary(format!("{}: {wrong}", path.display())))
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

    /// Makes a folder in this one for its owner, where there is none, mode 0700, on the disk when this
    /// returns. To give it away needs the rights of root; meanwhile it has another name, so that a
    /// folder with this one is its owner's or was made by another program.
    ///
    /// # Errors
    /// [`Error::Io`] names it; [`Error::Refused`] if users other than root can change this folder.
    pub fn make_for(&self, name: &OsStr, uid: Uid, gid: Gid) -> Result<()> {
        self.may_make_for(name)?;
        let path = self.path.join(name);
        let draft = NameMaker::new().unique();
        let draft = [b".", draft.as_bytes()].concat();
        let draft = OsStr::from_bytes(&draft);
        mkdirat(&self.fd, draft, Mode::S_IRWXU).map_err(Error::io("mkdir", &path))?;
        let given = self.enter(draft).and_then(|made| {
            fchown(&made.fd, Some(uid), Some(gid)).map_err(Error::io("chown", &path))?;
            made.sync()
        });
        let flags = RenameFlags::RENAME_NOREPLACE;
        let renamed =
            given.and_then(|()| match renameat2(&self.fd, draft, &self.fd, name, flags) {
                Ok(()) => self.enter(OsStr::new("."))?.sync(),
                Err(errno) => Err(Error::io("mkdir", &path)(errno)),
            });
        if let Err(error) = renamed {
            let _ = unlinkat(&self.fd, draft, UnlinkatFlags::RemoveDir); // best effort
            if error.kind() != Some(ErrorKind::AlreadyExists) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Checks that [`Folder::make_for`] may make a folder in this one.
    ///
    /// # Errors
    /// [`Error::Refused`] if users other than root can change this folder.
    pub fn may_make_for(&self, name: &OsStr) -> Result<()> {
        if self.is_roots_alone()? {
            return Ok(());
        }
        let why = "not made in a folder that others than root may write to";
        Err(Error::Refused(format!("{}: {why}", self.path.join(name).display())))
    }

    /// Returns the bytes that are free for this process on the disk of this folder, 0 where it has no
    /// inode left.
    ///
    /// # Errors
    /// As fstatvfs(3).
    #[allow(clippy::useless_conversion)] // the fields are u32 on 32-bit machines
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = fstatvfs(&self.fd).map_err(Error::io("stat", &self.path))?;
        // Some file systems do not count inodes.
        if stat.files() != 0 && stat.files_available() == 0 {
            return Ok(0);
        }
        let block = u64::from(stat.fragment_size());
        Ok(u64::from(stat.blocks_available()).saturating_mul(block))
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

    /// Returns the folder that this one is in, for [`Folder::sync`], where this one may not be on the disk: it was made
    /// within an hour, or the file system does not tell when. Another process may have made it and not waited. Where
    /// `parent` is not readable, that waits here for the disk.
    ///
    /// # Errors
    /// As syncfs(2).
    pub fn parent_of_new(&self, parent: &Folder) -> Result<Option<Folder>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or_default();
        let made = birth_time(&self.fd).map_err(Error::io("stat", &self.path))?;
        if made.is_some_and(|made| (0..=now - MAY_BE_NEW).contains(&made)) {
            return Ok(None);
        }
        if let Ok(readable) = parent.reopen() {
            return Ok(Some(readable));
        }
        let opened = self.reopen()?;
        retry_eintr(|| syncfs(&opened.fd)).map_err(Error::io("fsync", &parent.path))?;
        Ok(None)
    }

    /// Waits until the folder is on the disk.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> Result<()> {
        retry_eintr(|| fsync(&self.fd)).map_err(Error::io("fsync", &self.path))
    }

    /// As [`Folder::sync`], many at the same time; returns a result for each.
    #[must_use]
    pub fn sync_each(folders: &[&Folder]) -> Vec<Result<()>> {
        let synced = fsync_each(folders).into_iter().zip(folders);
        synced.map(|(synced, folder)| synced.map_err(Error::io("fsync", &folder.path))).collect()
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
mod tests;
