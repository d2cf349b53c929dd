//! Opens files below one folder, confined by the kernel.
//!
//! Every name is resolved by openat2(2) with RESOLVE_BENEATH, relative to a descriptor of the root.
//! `..` and symbolic links that would leave the root fail within that one system call, so there is
//! no race between a check and a use. Links that stay below the root are followed. A link whose target
//! begins with a slash is refused by openat2, and then resolved by a walk (`walk.rs`); so is every name where
//! a container or an old kernel has no openat2.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{AccessFlags, faccessat, fsync};

use super::atomic_file::IfExists;
use super::source::Source;
use super::temp_name::TEMP_PREFIX;
use super::walk::{Walk, strip_folder, trim_slashes};
use crate::error::Error;
use crate::wire::error_code::ErrorCode;

/// Most attempts of openat2 after EAGAIN, which it returns if a folder was renamed while it
/// resolved `..`.
const MAX_TRIES: usize = 16;
/// Most symbolic links followed at the end of an upload's name (path_resolution(7) allows 40).
const MAX_LINKS: usize = 8;
/// Most folders in the name of an upload for which folders are made.
const MAX_NEW_DEPTH: usize = 64;
/// Mode of a folder that is made for an upload, before the umask.
const NEW_FOLDER: Mode = Mode::from_bits_truncate(0o777);
/// Mode bit S_IROTH: others may read.
const WORLD_READABLE: u32 = 0o004;
/// Mode bits S_IWUSR, S_IWGRP and S_IWOTH: owner, group or others may write.
const WRITABLE: u32 = 0o222;

/// A folder that is served.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    /// Its path as it was given.
    path: PathBuf,
    /// Its absolute paths. A name or the target of a link that begins with one is below it.
    own_paths: Vec<PathBuf>,
    /// Under `--chroot` the target of any other link that begins with a slash is below it too.
    is_in_jail: bool,
    /// openat2(2) works here.
    has_openat2: bool,
}

/// The target of an upload: a folder below the root and a name in it.
#[derive(Debug)]
pub struct UploadTarget {
    /// The folder, open for reading.
    pub folder: OwnedFd,
    /// The last part of the name. It was no symbolic link when it was checked.
    pub name: Vec<u8>,
    /// The mode (inode(7)) of the existing file, if any.
    pub existing: Option<u32>,
}

impl Root {
    /// Opens the root and keeps it open, so renaming the folder changes nothing. With `chroot`, the
    /// folder of `--chroot`, the path is relative to it and cannot leave it.
    ///
    /// # Errors
    /// The root does not exist or is not a folder.
    pub fn open(path: &Path, chroot: Option<&Path>) -> forknet::Result<Root> {
        let what = format!("root {}", path.display());
        let folder = open_inside(chroot, path, OFlag::O_PATH | OFlag::O_DIRECTORY, &what)?;
        Ok(Root {
            own_paths: own_paths(&folder, path, chroot),
            path: path.to_owned(),
            is_in_jail: chroot.is_some(),
            has_openat2: has_openat2(&folder),
            folder,
        })
    }

    /// Returns its path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether openat2(2) resolves its names.
    #[must_use]
    pub fn has_openat2(&self) -> bool {
        self.has_openat2
    }

    /// Checks that this process may search the root, which it may not after privileges were
    /// dropped.
    ///
    /// # Errors
    /// openat2 fails.
    pub fn check(&self) -> nix::Result<()> {
        self.resolve(b"./.", OFlag::O_PATH).map(drop)
    }

    /// Checks that this process may make files in the root.
    ///
    /// # Errors
    /// As access(2).
    pub fn check_writable(&self) -> nix::Result<()> {
        faccessat(&self.folder, c".", AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::empty())
    }

    /// Opens a file for reading. Only regular files are served. If this process is root, which may
    /// read everything, only files with read permission for others (S_IROTH) are served.
    ///
    /// # Errors
    /// [`Error::Denied`] with the error code of RFC 1350 for the reason.
    pub fn open_source(&self, name: &[u8]) -> Result<Source, Error> {
        // O_NONBLOCK, because opening a FIFO must not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(self.resolve_name(name, flags)?);
        let meta = file.metadata().map_err(|error| Error::from_io(&error))?;
        if !meta.is_file() {
            return Err(Error::denied(ErrorCode::Access, "Not a regular file"));
        }
        if nix::unistd::geteuid().is_root() && meta.mode() & WORLD_READABLE == 0 {
            return Err(Errno::EACCES.into());
        }
        Source::new(file).map_err(|error| Error::from_io(&error))
    }

    /// Returns whether there is a regular file of this name.
    #[must_use]
    pub fn has_file(&self, name: &[u8]) -> bool {
        let found = self.resolve_name(name, OFlag::O_PATH);
        found.is_ok_and(|fd| File::from(fd).metadata().is_ok_and(|meta| meta.is_file()))
    }

    /// Returns whether the folder for a file of this name exists.
    #[must_use]
    pub fn has_folder_of(&self, name: &[u8]) -> bool {
        self.has_parent(name) || self.below(name).is_some_and(|name| self.has_parent(name))
    }

    fn has_parent(&self, name: &[u8]) -> bool {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        relative(name).is_ok_and(|name| self.resolve(split_last(name).0, flags).is_ok())
    }

    /// Returns the rest of a name that begins with the root's own path (`/srv/tftp/pxelinux.0`).
    #[must_use]
    pub fn below<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let own = self.own_paths.iter();
        own.filter_map(|own| strip_folder(name, own.as_os_str().as_bytes())).next()
    }

    /// Returns the name of an upload: without the root's own path, unless such a folder is below the root.
    fn name_of_upload<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        self.below(name).filter(|_| !self.has_parent(name)).unwrap_or(name)
    }

    /// Finds the folder and the name of an upload. Symbolic links at the end of the name are
    /// followed, as open(2) does, so that the file is replaced and not the link.
    ///
    /// # Errors
    /// [`Error::Denied`] if the name belongs to something other than a regular file, or to a file
    /// that `if_exists` or its permissions protect.
    pub fn upload_target(&self, name: &[u8], if_exists: IfExists) -> Result<UploadTarget, Error> {
        let mut path = relative(self.name_of_upload(name))?.to_vec();
        for _ in 0..MAX_LINKS {
            let (parent, last) = split_last(&path);
            if matches!(last, b"" | b"." | b"..") {
                return Err(Errno::EISDIR.into());
            }
            let folder = self.resolve(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            match readlinkat(&folder, last) {
                Ok(target) if target.as_bytes().starts_with(b"/") => {
                    let target = self.absolute(target.as_bytes()).ok_or(Errno::EXDEV)?;
                    path = relative(&target)?.to_vec();
                }
                Ok(target) => {
                    path = relative(&[parent, b"/", target.as_bytes()].concat())?.to_vec();
                }
                Err(Errno::EINVAL | Errno::ENOENT) => {
                    let existing = self.existing_mode(&folder, last, if_exists)?;
                    return Ok(UploadTarget { name: last.to_vec(), folder, existing });
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::ELOOP.into())
    }

    /// Makes the folders of a file's name that are missing, and waits until they are on the disk.
    ///
    /// # Errors
    /// [`Error::Denied`]: the name leaves the root, is that of a folder, or has too many; mkdir(2) fails.
    pub fn make_folders_of(&self, name: &[u8]) -> Result<(), Error> {
        if self.has_folder_of(name) {
            return Ok(());
        }
        let name = relative(self.name_of_upload(name))?;
        let (folders, last) = split_last(name);
        if matches!(last, b"" | b"." | b"..") {
            return Err(Errno::EISDIR.into());
        }
        if folders.split(|&byte| byte == b'/').count() > MAX_NEW_DEPTH {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut folder = self.resolve(b".", flags)?;
        let mut so_far = Vec::new();
        for part in folders.split(|&byte| byte == b'/') {
            if matches!(part, b"" | b".") {
                continue;
            }
            if part == b".." {
                return Err(Errno::EXDEV.into()); // no folder is made on a way that leads back
            }
            so_far.extend_from_slice(part);
            folder = match self.resolve(&so_far, flags) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&folder, part, NEW_FOLDER) {
                        Ok(()) => fsync(&folder)?,
                        Err(Errno::EEXIST) => {} // another upload has made it
                        Err(errno) => return Err(errno.into()),
                    }
                    self.resolve(&so_far, flags)?
                }
                opened => opened?,
            };
            so_far.push(b'/');
        }
        Ok(())
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Opens what a name means: the file below the root, or where there is none, and the name begins with the root's own
    /// path, what follows that.
    fn resolve_name(&self, name: &[u8], flags: OFlag) -> Result<OwnedFd, Error> {
        let found = self.resolve(relative(name)?, flags);
        match (found, self.below(name)) {
            (Err(Errno::ENOENT | Errno::ENOTDIR), Some(name)) => {
                Ok(self.resolve(relative(name)?, flags)?)
            }
            (found, _) => Ok(found?),
        }
    }

    fn resolve(&self, name: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        if self.has_openat2 {
            match openat2_beneath(&self.folder, name, flags) {
                Err(Errno::EXDEV) => {} // perhaps a link to a path of this root
                opened => return opened,
            }
        }
        let absolute = |target: &[u8]| self.absolute(target);
        let top = self.folder.as_fd();
        Walk { top, absolute: &absolute, stays_at_top: false }.open(name, flags)
    }

    /// Returns the name below the root for the target of a link that begins with a slash.
    fn absolute(&self, target: &[u8]) -> Option<Vec<u8>> {
        let in_jail = || self.is_in_jail.then(|| trim_slashes(target));
        self.below(target).or_else(in_jail).map(<[u8]>::to_vec)
    }

    /// Returns the mode of the file that an upload would replace, if there is one.
    fn existing_mode(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        if_exists: IfExists,
    ) -> Result<Option<u32>, Error> {
        let status = match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(None),
            result => result?,
        };
        if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(Error::denied(ErrorCode::Access, "Not a regular file"));
        }
        match if_exists {
            IfExists::Fail => return Err(Errno::EEXIST.into()),
            IfExists::Number | IfExists::Date => return Ok(None), // the upload gets another name
            IfExists::Replace => {}
        }
        // rename(2) checks only the folder's permissions, but a Unix user expects the file's to count
        // too. Root may write everything, so for root the mode bits decide.
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        openat(folder, name, flags | OFlag::O_CLOEXEC, Mode::empty())?;
        if status.st_mode & WRITABLE == 0 {
            return Err(Errno::EACCES.into());
        }
        Ok(Some(status.st_mode))
    }
}

/// Returns the paths under which a root is known: as it was given, and without links; under `--chroot` from inside and from
/// outside.
fn own_paths(folder: &OwnedFd, path: &Path, chroot: Option<&Path>) -> Vec<PathBuf> {
    let inside = path.strip_prefix("/").unwrap_or(path);
    let given = match chroot {
        Some(chroot) => chroot.join(inside),
        None => path.to_owned(),
    };
    // Without /proc the path that was given has to do.
    let real = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let mut own: Vec<PathBuf> = std::path::absolute(given).ok().into_iter().collect();
    own.extend(real(folder.as_raw_fd()));
    if let Some(chroot) = chroot.and_then(|chroot| fs::canonicalize(chroot).ok()) {
        let below = own.iter().filter_map(|own| own.strip_prefix(&chroot).ok());
        let inner: Vec<_> = below.map(|below| Path::new("/").join(below)).collect();
        own.extend(inner);
        own.push(Path::new("/").join(inside));
    }
    own.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
    own.dedup();
    own
}

/// Returns whether openat2(2) works: kernels before Linux 5.6 do not have it, and containers may forbid it with seccomp(2).
fn has_openat2(folder: &OwnedFd) -> bool {
    !matches!(openat2_beneath(folder, b".", OFlag::O_PATH), Err(Errno::ENOSYS | Errno::EPERM))
}

/// Opens a file or folder; `what` names it in an error. With `chroot`, the folder of `--chroot`,
/// the path is relative to it and cannot leave it.
///
/// # Errors
/// Opening it, or the folder of `--chroot`, fails.
pub(crate) fn open_inside(
    chroot: Option<&Path>,
    path: &Path,
    flags: OFlag,
    what: &str,
) -> forknet::Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC;
    let failed = |errno| match errno {
        Errno::ELOOP if flags.contains(OFlag::O_NOFOLLOW) => {
            forknet::Error::Refused(format!("{what}: is a symbolic link"))
        }
        errno => forknet::Error::os(what)(errno),
    };
    let Some(chroot) = chroot else {
        return open(path, flags, Mode::empty()).map_err(failed);
    };
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let held = open(chroot, folder, Mode::empty())
        .map_err(forknet::Error::os(format!("chroot {}", chroot.display())))?;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let opened = match openat2(&held, path, how) {
        Err(Errno::ENOSYS | Errno::EPERM) => {
            let absolute = |target: &[u8]| Some(target.to_vec());
            let walk = Walk { top: held.as_fd(), absolute: &absolute, stays_at_top: true };
            walk.open(path.as_os_str().as_bytes(), flags)
        }
        opened => opened,
    };
    opened.map_err(failed)
}

fn openat2_beneath(folder: &OwnedFd, name: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..MAX_TRIES {
        match openat2(folder, name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => (),
            result => return result,
        }
    }
    Err(Errno::EXDEV)
}

/// Returns the name relative to the root, because a leading '/' means the root. Refuses the names
/// of temporary files.
fn relative(name: &[u8]) -> Result<&[u8], Error> {
    let name = trim_slashes(name);
    if name.split(|&byte| byte == b'/').any(|part| part.starts_with(TEMP_PREFIX)) {
        return Err(Errno::EACCES.into());
    }
    Ok(if name.is_empty() { b"." } else { name })
}

/// Splits a path into its folder and its last part.
fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        None => (b".", path),
        Some(at) => {
            let (parent, last) = path.split_at(at);
            (parent, last.get(1..).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests;
