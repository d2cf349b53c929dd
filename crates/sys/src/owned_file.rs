//! open(2) of a file that another user could have put in its place: no link is followed, nothing is
//! waited for, and what was opened is looked at.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, lstat};
use nix::unistd::{Uid, geteuid};

use crate::fd::set_nonblocking;

/// How often a file that is replaced just then is opened again.
const TRIES: usize = 16;
/// The bits of a mode that let others than the owner write.
const WRITABLE: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// O_RDONLY.
    Read,
    /// O_RDWR.
    ReadWrite,
    /// O_WRONLY and O_APPEND.
    Append,
}

/// How a file is opened, and what it has to be.
///
/// In any case it is a regular file with one name, belongs to root or to this process's effective user,
/// and is writable by its owner only. Its folder is taken as it is, and so is the way there.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What it is opened for.
    pub access: Access,
    /// Permissions of a file that is made where there is none; else a missing file is an error.
    pub create: Option<Mode>,
    /// One more user whom it may belong to.
    pub owner: Option<Uid>,
    /// A character device will do too, whatever its mode: what /dev/null is, root has made.
    pub devices: bool,
}

impl Rules {
    /// Opens a file that exists, for reading.
    pub const READ: Rules =
        Rules { access: Access::Read, create: None, owner: None, devices: false };
}

/// A file that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The file; reading and writing wait, as usual.
    pub file: File,
    /// It was made just now.
    pub is_new: bool,
}

/// Why a file was not opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// A system call failed.
    Os(Errno),
    /// The last part of the path is a symbolic link.
    SymbolicLink,
    /// A device, a FIFO, a socket.
    NotRegular,
    /// It belongs to this user.
    Owner(Uid),
    /// Its group may write to it, or every user.
    Writable,
    /// It has this number of names.
    Links(libc::nlink_t),
}

/// What stands behind the name of the file: `belongs to user 1000`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Os(errno) => f.write_str(errno.desc()),
            Fault::SymbolicLink => f.write_str("is a symbolic link"),
            Fault::NotRegular => f.write_str("not a regular file"),
            Fault::Owner(uid) => write!(f, "belongs to user {uid}"),
            Fault::Writable => f.write_str("is writable by others"),
            Fault::Links(links) => write!(f, "has {links} links"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::Os(errno)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault {
            Fault::Os(errno) => errno.into(),
            fault => io::Error::other(fault),
        }
    }
}

/// Opens a file, closed on exec.
///
/// # Errors
/// What it is that it must not be; what open(2) says.
pub fn open(path: &Path, rules: Rules) -> Result<Opened, Fault> {
    for _ in 0..TRIES {
        match uninterrupted(|| lstat(path)) {
            // Looked at before it is opened: to open a device or a FIFO can do something already.
            Ok(found) => rules.check(&found)?,
            Err(Errno::ENOENT) if rules.create.is_some() => match rules.make(path) {
                Err(Errno::EEXIST) => continue,
                made => return Ok(Opened { file: made?, is_new: true }),
            },
            Err(errno) => return Err(errno.into()),
        }
        // And afterwards, because it may have been replaced in between.
        match rules.open_existing(path) {
            Err(Fault::Os(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) | Fault::Links(0)) => {}
            opened => return Ok(Opened { file: opened?, is_new: false }),
        }
    }
    Err(Fault::Os(Errno::ESTALE))
}

/// Checks a file that is open already: opened with O_NOFOLLOW, and O_NONBLOCK in case it is a FIFO.
///
/// # Errors
/// What it is that it must not be.
pub fn check(file: &File, rules: Rules) -> Result<(), Fault> {
    rules.check(&uninterrupted(|| fstat(file.as_fd()))?)
}

/// Calls it again as long as a signal interrupts it, which it can be on remote file systems; nix does not.
fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

impl Rules {
    fn flags(self) -> OFlag {
        let access = match self.access {
            Access::Read => OFlag::O_RDONLY,
            Access::ReadWrite => OFlag::O_RDWR,
            Access::Append => OFlag::O_WRONLY | OFlag::O_APPEND,
        };
        access | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC
    }

    /// O_EXCL: it is new, and no link is followed.
    fn make(self, path: &Path) -> nix::Result<File> {
        let flags = self.flags() | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = self.create.unwrap_or(Mode::empty());
        uninterrupted(|| open_file(path, flags, mode)).map(File::from)
    }

    /// O_NONBLOCK: a FIFO that has taken the file's place is not waited for.
    fn open_existing(self, path: &Path) -> Result<File, Fault> {
        let flags = self.flags() | OFlag::O_NONBLOCK;
        let file = uninterrupted(|| open_file(path, flags, Mode::empty()))?;
        self.check(&uninterrupted(|| fstat(file.as_fd()))?)?;
        uninterrupted(|| set_nonblocking(&file, false))?;
        Ok(file.into())
    }

    fn check(self, file: &FileStat) -> Result<(), Fault> {
        let mode = Mode::from_bits_truncate(file.st_mode);
        let kind = SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT;
        let owner = Uid::from_raw(file.st_uid);
        let is_device = kind == SFlag::S_IFCHR && self.devices;
        if kind == SFlag::S_IFLNK {
            Err(Fault::SymbolicLink)
        } else if kind == SFlag::S_IFDIR {
            Err(Fault::Os(Errno::EISDIR))
        } else if kind != SFlag::S_IFREG && !is_device {
            Err(Fault::NotRegular)
        } else if !owner.is_root() && owner != geteuid() && Some(owner) != self.owner {
            Err(Fault::Owner(owner))
        } else if mode.intersects(WRITABLE) && !is_device {
            Err(Fault::Writable)
        } else if file.st_nlink != 1 {
            Err(Fault::Links(file.st_nlink))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::io::{Read, Write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use testkit::TempDir;

    const APPEND: Rules = Rules {
        access: Access::Append,
        create: Some(Mode::S_IRUSR.union(Mode::S_IWUSR)),
        owner: None,
        devices: true,
    };

    fn fault(path: &Path, rules: Rules) -> String {
        open(path, rules).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_made_for_its_owner_and_found_again() {
        let dir = TempDir::new();
        let path = dir.path().join("file");
        assert_eq!(fault(&path, Rules::READ), "No such file or directory");
        for is_new in [true, false] {
            let mut opened = open(&path, APPEND).unwrap();
            assert_eq!(opened.is_new, is_new);
            opened.file.write_all(b"line\n").unwrap();
            assert_eq!(opened.file.metadata().unwrap().mode() & 0o7777, 0o600);
        }
        let mut text = String::new();
        open(&path, Rules::READ).unwrap().file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\nline\n");
        assert_eq!(fault(&dir.path().join("none/file"), APPEND), "No such file or directory");
    }

    #[test]
    fn what_others_may_have_made_of_it_is_refused_and_not_waited_for() {
        let dir = TempDir::new();
        let file = dir.file("file", "");
        let path = |name| dir.path().join(name);
        symlink(&file, path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        let read_write = Rules { access: Access::ReadWrite, ..APPEND };
        for rules in [Rules::READ, APPEND, read_write] {
            assert_eq!(fault(&path("link"), rules), "is a symbolic link");
            assert_eq!(fault(&path("dangling"), rules), "is a symbolic link");
            assert_eq!(fault(&path("folder"), rules), "Is a directory");
            for odd in ["fifo", "socket"] {
                assert_eq!(fault(&path(odd), rules), "not a regular file", "{odd}");
            }
        }
        assert!(!path("nowhere").exists());
        for mode in [0o666, 0o602, 0o660] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(fault(&file, Rules::READ), "is writable by others", "{mode:o}");
        }
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::hard_link(&file, path("second")).unwrap();
        assert_eq!(fault(&file, APPEND), "has 2 links");
    }

    #[test]
    fn a_file_of_roots_or_ours_or_the_one_users_that_is_named_will_do() {
        let passwd = Path::new("/etc/passwd");
        assert!(open(passwd, Rules::READ).is_ok());
        if !geteuid().is_root() {
            return;
        }
        let dir = TempDir::new();
        let file = dir.file("file", "");
        chown(&file, Some(4242), None).unwrap();
        assert_eq!(fault(&file, APPEND), "belongs to user 4242");
        let his = Rules { owner: Some(Uid::from_raw(4242)), ..APPEND };
        assert!(open(&file, his).is_ok());
    }

    #[test]
    fn a_device_is_taken_where_the_rules_say_so() {
        let null = Path::new("/dev/null");
        assert!(open(null, APPEND).unwrap().file.write_all(b"x").is_ok());
        assert_eq!(fault(null, Rules { devices: false, ..APPEND }), "not a regular file");
    }
}
