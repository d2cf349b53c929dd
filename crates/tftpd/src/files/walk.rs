//! Resolves a name folder by folder, where openat2(2) is missing or does not know what a link means.
//!
//! Each part of a name is opened with O_NOFOLLOW from the descriptor of the folder before it. A symbolic link is read, and
//! its target is walked in the same way; `..` goes back to the descriptor that the walk came from. So the kernel follows no
//! link and no `..`, and what is renamed meanwhile leads nowhere else: a part that has become a link is read again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

/// Most symbolic links followed in one name (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Most folders that a walk is deep, each with a descriptor.
const MAX_DEPTH: usize = 64;
/// Most attempts to open a part that has changed between two system calls.
const MAX_CHANGES: usize = 16;

/// Returns the name below the top for a link's target that begins with a slash; `None` if it leads outside.
pub(super) type Absolute<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// A walk below one folder.
pub(super) struct Walk<'a> {
    /// The folder.
    pub(super) top: BorrowedFd<'a>,
    /// What targets of links mean that begin with a slash.
    pub(super) absolute: Absolute<'a>,
    /// `..` at the top stays there, as in a chroot(2), and does not fail.
    pub(super) stays_at_top: bool,
}

/// The way that is left, and the folders that it came through.
struct Way {
    folders: Vec<OwnedFd>,
    rest: Vec<u8>,
    links: usize,
    changes: usize,
}

impl Walk<'_> {
    /// Opens the file or folder of a name, as open(2) does; with O_PATH and no O_DIRECTORY it may be a link that has just
    /// taken the name.
    ///
    /// # Errors
    /// EXDEV for a name or a link that leads outside, ELOOP for too many links, ENAMETOOLONG for too many folders, or as
    /// open(2) and readlink(2) say.
    pub(super) fn open(&self, name: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        let mut way = Way { folders: Vec::new(), rest: name.to_vec(), links: 0, changes: 0 };
        loop {
            let (part, after) = split_first(&way.rest);
            let (part, after) = (part.to_vec(), after.to_vec());
            match &part[..] {
                b"" => {
                    return openat(
                        self.folder(&way),
                        c".",
                        flags | OFlag::O_CLOEXEC,
                        Mode::empty(),
                    );
                }
                b"." => way.rest = after,
                b".." => {
                    if way.folders.pop().is_none() && !self.stays_at_top {
                        return Err(Errno::EXDEV);
                    }
                    way.rest = after;
                }
                part => {
                    if let Some(opened) = self.step(&mut way, part, after, flags)? {
                        return Ok(opened);
                    }
                }
            }
        }
    }

    /// Enters a folder, or reads a link; returns the file if the way ends here.
    fn step(
        &self,
        way: &mut Way,
        part: &[u8],
        after: Vec<u8>,
        flags: OFlag,
    ) -> nix::Result<Option<OwnedFd>> {
        let is_last = after.iter().all(|byte| *byte == b'/');
        match readlinkat(self.folder(way), part) {
            Ok(_) if is_last && flags.contains(OFlag::O_NOFOLLOW) => return Err(Errno::ELOOP),
            Ok(target) => return self.follow(way, target.as_bytes(), &after).map(|()| None),
            Err(Errno::EINVAL) => {} // no link
            Err(errno) => return Err(errno),
        }
        let how = match (is_last, after.is_empty()) {
            (true, true) => flags,
            (true, false) => flags | OFlag::O_DIRECTORY, // a slash is after it
            (false, _) => OFlag::O_PATH | OFlag::O_DIRECTORY,
        };
        let how = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.folder(way), part, how, Mode::empty()) {
            // A link may have taken the name since.
            Err(Errno::ELOOP | Errno::ENOTDIR | Errno::EINTR) if way.changes < MAX_CHANGES => {
                way.changes += 1;
            }
            Ok(fd) if is_last => return Ok(Some(fd)),
            Ok(_) if way.folders.len() == MAX_DEPTH => return Err(Errno::ENAMETOOLONG),
            Ok(folder) => {
                way.folders.push(folder);
                way.rest = after;
            }
            Err(errno) => return Err(errno),
        }
        Ok(None)
    }

    /// Puts a link's target in the place of the link.
    fn follow(&self, way: &mut Way, target: &[u8], after: &[u8]) -> nix::Result<()> {
        way.links += 1;
        if way.links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        way.rest = if target.starts_with(b"/") {
            way.folders.clear();
            [&(self.absolute)(target).ok_or(Errno::EXDEV)?, after].concat()
        } else {
            [target, after].concat()
        };
        Ok(())
    }

    fn folder<'w>(&'w self, way: &'w Way) -> BorrowedFd<'w> {
        way.folders.last().map_or(self.top, AsFd::as_fd)
    }
}

/// Splits off the first part of a path; what follows begins with a slash or is empty.
fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    let path = trim_slashes(path);
    path.split_at(path.iter().position(|&byte| byte == b'/').unwrap_or(path.len()))
}

/// Returns the path without the slashes that it begins with.
pub(super) fn trim_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    path.get(start..).unwrap_or_default()
}

/// Returns what follows the parts of `folder` at the beginning of `path`, both of which begin with a slash; `None` if the
/// path does not begin with them, or if the folder is `/`.
pub(super) fn strip_folder<'p>(path: &'p [u8], folder: &[u8]) -> Option<&'p [u8]> {
    let parts = |path| parts(path).peekable();
    parts(folder).peek()?;
    let mut rest = path.strip_prefix(b"/").map(|_| path)?;
    for wanted in parts(folder) {
        loop {
            let (part, after) = split_first(rest);
            rest = after;
            match part {
                b"." => {}
                part if part == wanted => break,
                _ => return None,
            }
        }
    }
    Some(trim_slashes(rest))
}

/// Returns the parts of a path, without empty ones and `.`.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use testkit::TempDir;

    fn read(dir: &TempDir, name: &str, stays_at_top: bool) -> Result<String, Errno> {
        let top = File::open(dir.path().join("top")).unwrap();
        let absolute = |target: &[u8]| strip_folder(target, b"/own/path").map(<[u8]>::to_vec);
        let walk = Walk { top: top.as_fd(), absolute: &absolute, stays_at_top };
        let mut text = String::new();
        let opened = walk.open(name.as_bytes(), OFlag::O_RDONLY)?;
        File::from(opened).read_to_string(&mut text).map_err(|_| Errno::EISDIR)?;
        Ok(text)
    }

    fn tree() -> TempDir {
        let dir = TempDir::new();
        fs::create_dir_all(dir.path().join("top/sub/deep")).unwrap();
        dir.file("secret", "secret");
        dir.file("top/plain", "plain");
        dir.file("top/sub/x", "x");
        dir
    }

    #[test]
    fn each_spelling_of_a_name_is_walked() {
        let dir = tree();
        for name in ["plain", "/plain", "./plain", "sub/../plain", "sub/deep//../.././plain"] {
            assert_eq!(read(&dir, name, false), Ok("plain".into()), "{name}");
        }
        for (name, errno) in [
            ("../secret", Errno::EXDEV),
            ("sub/../../secret", Errno::EXDEV),
            ("none", Errno::ENOENT),
            ("none/x", Errno::ENOENT),
            ("plain/x", Errno::ENOTDIR),
            ("plain/", Errno::ENOTDIR),
            ("sub", Errno::EISDIR),
            ("sub/", Errno::EISDIR),
            ("", Errno::EISDIR),
            ("sub/..", Errno::EISDIR),
        ] {
            assert_eq!(read(&dir, name, false), Err(errno), "{name}");
        }
        assert_eq!(read(&dir, "../../plain", true), Ok("plain".into()), "as in a chroot");
    }

    #[test]
    fn links_are_read_and_walked() {
        let dir = tree();
        for (name, target) in [
            ("near", "plain"),
            ("sub/up", "../plain"),
            ("own", "/own/path/plain"),
            ("dots", "/own//./path/sub/../plain"),
            ("folder", "/own/path/sub"),
            ("top", "/own/path"),
            ("two", "folder/up"),
            ("out", "../secret"),
            ("etc", "/etc/passwd"),
            ("beside", "/own/pathological/plain"),
            ("over", "/own/path/../secret"),
            ("loop", "loop"),
        ] {
            symlink(target, dir.path().join("top").join(name)).unwrap();
        }
        for name in
            ["near", "sub/up", "folder/up", "own", "dots", "two", "top/top/plain", "top/near"]
        {
            assert_eq!(read(&dir, name, false), Ok("plain".into()), "{name}");
        }
        assert_eq!(read(&dir, "folder/x", false), Ok("x".into()));
        for name in ["out", "etc", "beside", "over", "folder/../../secret"] {
            assert_eq!(read(&dir, name, false), Err(Errno::EXDEV), "{name}");
        }
        assert_eq!(read(&dir, "loop", false), Err(Errno::ELOOP));
        assert_eq!(read(&dir, "near/", false), Err(Errno::ENOTDIR));
    }

    #[test]
    fn a_walk_has_a_bound() {
        let dir = tree();
        let deep = vec!["d"; MAX_DEPTH + 2].join("/");
        fs::create_dir_all(dir.path().join("top").join(&deep)).unwrap();
        assert_eq!(read(&dir, &format!("{deep}/x"), false), Err(Errno::ENAMETOOLONG));
        let back = format!("{}plain", "sub/../".repeat(300));
        assert_eq!(read(&dir, &back, false), Ok("plain".into()));
    }

    #[test]
    fn a_folder_is_stripped_part_by_part() {
        let strip = |path: &str, folder: &str| {
            let left = strip_folder(path.as_bytes(), folder.as_bytes());
            left.map(|left| String::from_utf8(left.to_vec()).unwrap())
        };
        assert_eq!(strip("/srv/tftp/a/b", "/srv/tftp"), Some("a/b".into()));
        assert_eq!(strip("//srv/./tftp//a/", "/srv/tftp/"), Some("a/".into()));
        assert_eq!(strip("/srv/tftp", "/srv/tftp"), Some(String::new()));
        for (path, folder) in [
            ("/srv/tftpd/a", "/srv/tftp"),
            ("srv/tftp/a", "/srv/tftp"),
            ("/a", "/"),
            ("/srv", "/srv/tftp"),
        ] {
            assert_eq!(strip(path, folder), None, "{path}");
        }
    }
}
