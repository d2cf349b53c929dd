//! Opens files below one folder, confined by the kernel.
//!
//! Every name is resolved by openat2(2) with RESOLVE_BENEATH, relative to a descriptor of the root.
//! `..` and symbolic links that would leave the root fail within that one system call, so there is
//! no race between a check and a use. Links that stay below the root are followed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{AccessFlags, faccessat, fsync};

use super::atomic_file::{IfExists, TEMP_PREFIX};
use super::source::Source;
use crate::error::Error;
use crate::wire::error_code::ErrorCode;

/// Most attempts of openat2 after EAGAIN, which it returns if a folder was renamed while it
/// resolved `..`.
const MAX_TRIES: usize = 16;
/// Most symbolic links followed at the end of an upload's name (path_resolution(7) allows 40).
const MAX_LINKS: usize = 8;
/// Mode of a folder that is made for an upload, before the umask.
const NEW_FOLDER: Mode = Mode::from_bits_truncate(0o777);
/// Mode bit S_IROTH: others may read.
const WORLD_READABLE: u32 = 0o004;
/// Mode bits S_IWUSR, S_IWGRP and S_IWOTH: owner, group or others may write.
const WRITABLE: u32 = 0o222;

/// The folder that is served.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
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
    /// The root does not exist or is not a folder. ENOSYS on a kernel without openat2 (before Linux
    /// 5.6), because other ways to resolve names have races.
    pub fn open(path: &Path, chroot: Option<&Path>) -> forknet::Result<Root> {
        let what = format!("root {}", path.display());
        let root =
            Root { folder: open_inside(chroot, path, OFlag::O_PATH | OFlag::O_DIRECTORY, &what)? };
        match root.resolve(b".", OFlag::O_PATH) {
            Err(Errno::ENOSYS) => Err(forknet::Error::os(what + ": openat2")(Errno::ENOSYS)),
            _ => Ok(root),
        }
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
        let name = relative(name)?;
        // O_NONBLOCK, because opening a FIFO must not wait for a writer.
        let file =
            File::from(self.resolve(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?);
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
        let found = relative(name).ok().and_then(|name| self.resolve(name, OFlag::O_PATH).ok());
        found.is_some_and(|fd| File::from(fd).metadata().is_ok_and(|meta| meta.is_file()))
    }

    /// Returns whether the folder for a file of this name exists.
    #[must_use]
    pub fn has_folder_of(&self, name: &[u8]) -> bool {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        relative(name).is_ok_and(|name| self.resolve(split_last(name).0, flags).is_ok())
    }

    /// Finds the folder and the name of an upload. Symbolic links at the end of the name are
    /// followed, as open(2) does, so that the file is replaced and not the link.
    ///
    /// # Errors
    /// [`Error::Denied`] if the name belongs to something other than a regular file, or to a file
    /// that `if_exists` or its permissions protect.
    pub fn upload_target(&self, name: &[u8], if_exists: IfExists) -> Result<UploadTarget, Error> {
        let mut path = relative(name)?.to_vec();
        for _ in 0..MAX_LINKS {
            let (parent, last) = split_last(&path);
            if matches!(last, b"" | b"." | b"..") {
                return Err(Errno::EISDIR.into());
            }
            let folder = self.resolve(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            match readlinkat(&folder, last) {
                Ok(target) => {
                    if target.as_bytes().starts_with(b"/") {
                        return Err(Errno::EXDEV.into());
                    }
                    path = relative(&[parent, b"/", target.as_bytes()].concat())?.to_vec();
                }
                Err(Errno::EINVAL | Errno::ENOENT) => {
                    let existing = existing_mode(&folder, last, if_exists)?;
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
    /// [`Error::Denied`]: the name leaves the root; mkdir(2) fails.
    pub fn make_folders_of(&self, name: &[u8]) -> Result<(), Error> {
        let name = relative(name)?;
        let (parents, _) = split_last(name);
        let mut folder = self.resolve(b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        for part in parents.split(|&byte| byte == b'/') {
            if matches!(part, b"" | b".") {
                continue;
            }
            if part == b".." {
                return Err(Errno::EXDEV.into()); // no folder is made on a way that leads back
            }
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            folder = match resolve(&folder, part, flags) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&folder, part, NEW_FOLDER) {
                        Ok(()) => fsync(&folder)?,
                        Err(Errno::EEXIST) => {} // another upload has made it
                        Err(errno) => return Err(errno.into()),
                    }
                    resolve(&folder, part, flags)?
                }
                opened => opened?,
            };
        }
        Ok(())
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    fn resolve(&self, name: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        resolve(&self.folder, name, flags)
    }
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
    openat2(held, path, how).map_err(failed)
}

fn resolve(folder: impl AsFd, name: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..MAX_TRIES {
        match openat2(&folder, name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => (),
            result => return result,
        }
    }
    Err(Errno::EXDEV)
}

/// Returns the mode of the file that an upload would replace, if there is one.
fn existing_mode(folder: &OwnedFd, name: &[u8], if_exists: IfExists) -> Result<Option<u32>, Error> {
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
    resolve(folder, name, flags)?;
    if status.st_mode & WRITABLE == 0 {
        return Err(Errno::EACCES.into());
    }
    Ok(Some(status.st_mode))
}

/// Returns the name relative to the root, because a leading '/' means the root. Refuses the names
/// of temporary files.
fn relative(name: &[u8]) -> Result<&[u8], Error> {
    let start = name.iter().position(|&byte| byte != b'/').unwrap_or(name.len());
    let name = name.get(start..).unwrap_or_default();
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
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::fs::{self, Permissions};
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use testkit::TempDir;

    fn root() -> (TempDir, Root) {
        let dir = TempDir::new();
        let inside = dir.path().join("root");
        fs::create_dir(&inside).unwrap();
        fs::create_dir(inside.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(inside.join("plain"), "plain").unwrap();
        fs::write(inside.join("a..b"), "dots").unwrap();
        fs::write(inside.join("sub/deep"), "deep").unwrap();
        let root = Root::open(&inside, None).unwrap();
        (dir, root)
    }

    fn read(root: &Root, name: &str) -> String {
        match root.open_source(name.as_bytes()) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text
            }
            Err(Error::Denied { code, .. }) => (code as u16).to_string(),
            Err(other) => panic!("{other}"),
        }
    }

    fn place(root: &Root, name: &str) -> String {
        match root.upload_target(name.as_bytes(), IfExists::Replace) {
            Ok(target) => {
                let there = if target.existing.is_some() { "old" } else { "new" };
                format!("{there} {}", target.name.escape_ascii())
            }
            Err(Error::Denied { code, .. }) => (code as u16).to_string(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_spelling_of_a_name_is_resolved_below_the_root() {
        let (_dir, root) = root();
        for name in ["plain", "/plain", "//plain", "./plain", "sub/../plain", "sub//.././plain"] {
            assert_eq!(read(&root, name), "plain", "{name}");
            assert_eq!(place(&root, name), "old plain", "{name}");
        }
        assert_eq!(read(&root, "a..b"), "dots");
        assert_eq!(read(&root, "/sub/deep"), "deep");
    }

    #[test]
    fn a_name_that_leaves_the_root_is_an_access_violation() {
        let (_dir, root) = root();
        for name in ["..", "../secret", "/../secret", "sub/../../secret", "../root/plain"] {
            assert_eq!(read(&root, name), "2", "{name}");
            assert_eq!(place(&root, name), "2", "{name}");
        }
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let (dir, root) = root();
        let inside = dir.path().join("root");
        symlink("sub/deep", inside.join("fine")).unwrap();
        symlink("../plain", inside.join("sub/up")).unwrap();
        symlink("../secret", inside.join("out")).unwrap();
        symlink(dir.path().join("secret"), inside.join("absolute")).unwrap();
        symlink("..", inside.join("folder")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        symlink("sub/fresh", inside.join("dangling")).unwrap();
        assert_eq!((read(&root, "fine"), place(&root, "fine")), ("deep".into(), "old deep".into()));
        assert_eq!(read(&root, "sub/up"), "plain");
        assert_eq!(place(&root, "sub/up"), "old plain");
        for name in ["out", "absolute", "folder/secret", "loop"] {
            assert_eq!(read(&root, name), "2", "{name}");
            assert_eq!(place(&root, name), "2", "{name}");
        }
        assert_eq!(
            (read(&root, "dangling"), place(&root, "dangling")),
            ("1".into(), "new fresh".into())
        );
    }

    #[test]
    fn a_missing_file_or_folder_is_error_1() {
        let (_dir, root) = root();
        for name in ["none", "none/x", "plain/x"] {
            assert_eq!(read(&root, name), "1", "{name}");
        }
        assert_eq!(place(&root, "none"), "new none");
        assert_eq!(place(&root, "none/x"), "1");
    }

    #[test]
    fn file_exists_is_reported_before_permissions_are_checked() {
        let (dir, root) = root();
        fs::set_permissions(dir.path().join("root/plain"), Permissions::from_mode(0o444)).unwrap();
        let error = root.upload_target(b"plain", IfExists::Fail).unwrap_err();
        assert_eq!(error.to_string(), "File exists (ERROR 6)");
        assert!(root.upload_target(b"none", IfExists::Fail).unwrap().existing.is_none());
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let (dir, root) = root();
        let inside = dir.path().join("root");
        nix::unistd::mkfifo(&inside.join("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
        let _bound = std::os::unix::net::UnixListener::bind(inside.join("socket")).unwrap();
        for name in ["fifo", "socket", "sub", "sub/", ".", "/"] {
            assert_eq!(read(&root, name), "2", "{name}");
            assert_eq!(place(&root, name), "2", "{name}");
        }
    }

    #[test]
    fn root_serves_only_files_that_others_may_read() {
        let (dir, root) = root();
        fs::set_permissions(dir.path().join("root/plain"), Permissions::from_mode(0o000)).unwrap();
        assert_eq!(read(&root, "plain"), "2");
        fs::set_permissions(dir.path().join("root/plain"), Permissions::from_mode(0o444)).unwrap();
        assert_eq!(read(&root, "plain"), "plain");
        assert_eq!(place(&root, "plain"), "2", "no permission to write");
    }

    #[test]
    fn temporary_files_are_hidden() {
        let (dir, root) = root();
        let name = [TEMP_PREFIX, b"1-0"].concat();
        let name = String::from_utf8(name).unwrap();
        fs::write(dir.path().join("root").join(&name), "half").unwrap();
        assert_eq!((read(&root, &name), place(&root, &name)), ("2".into(), "2".into()));
        assert_eq!(read(&root, &format!("sub/../{name}")), "2");
    }

    #[test]
    fn opening_a_missing_root_or_a_file_as_root_fails() {
        let (dir, _root) = root();
        let missing = dir.path().join("missing");
        let error = Root::open(&missing, None).unwrap_err().to_string();
        assert_eq!(error, format!("root {}: No such file or directory", missing.display()));
        let error = Root::open(&dir.path().join("secret"), None).unwrap_err().to_string();
        assert!(error.ends_with(": Not a directory"), "{error}");
    }

    #[test]
    fn a_root_that_can_be_searched_passes_the_check() {
        let (_dir, root) = root();
        root.check().unwrap();
    }
}
