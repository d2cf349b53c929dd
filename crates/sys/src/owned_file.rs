//! open(2) of a file that another user could have replaced: follows no link, never blocks, and
//! checks what it has opened.

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

/// Most tries to open a file that is being replaced.
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

/// How a file is opened, and what is required of it.
///
/// It must be a regular file with one link, owned by root or this process's effective user, and
/// writable by its owner only. Its path up to the last component is not checked.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Reading, writing or both.
    pub access: Access,
    /// Permissions of a file that is created; `None` makes a missing file an error.
    pub create: Option<Mode>,
    /// Another user who may own it.
    pub owner: Option<Uid>,
    /// A character device is accepted too, whatever its mode, because only root makes one.
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
    /// The file, in blocking mode.
    pub file: File,
    /// It was created by this call.
    pub is_new: bool,
}

/// Why a file was not opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// A system call failed.
    Os(Errno),
    /// The last part of the path is a symbolic link.
    SymbolicLink,
    /// It is a device, a FIFO or a socket.
    NotRegular,
    /// It belongs to this user.
    Owner(Uid),
    /// Its group or every user may write to it.
    Writable,
    /// It has this number of links.
    Links(libc::nlink_t),
}

/// The predicate of the file's name: `belongs to user 1000`.
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
/// The rule that it breaks; as open(2).
pub fn open(path: &Path, rules: Rules) -> Result<Opened, Fault> {
    for _ in 0..TRIES {
        match uninterrupted(|| lstat(path)) {
            // Checked before it is opened, because opening a device or a FIFO can have an effect.
            Ok(found) => rules.check(&found)?,
            Err(Errno::ENOENT) if rules.create.is_some() => match rules.make(path) {
                Err(Errno::EEXIST) => continue,
                made => return Ok(Opened { file: made?, is_new: true }),
            },
            Err(errno) => return Err(errno.into()),
        }
        // Checked again afterwards, because it may have been replaced in between.
        match rules.open_existing(path) {
            Err(Fault::Os(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) | Fault::Links(0)) => {}
            opened => return Ok(Opened { file: opened?, is_new: false }),
        }
    }
    Err(Fault::Os(Errno::ESTALE))
}

/// Checks a file that was opened with O_NOFOLLOW, and with O_NONBLOCK in case it is a FIFO.
///
/// # Errors
/// The rule that it breaks.
pub fn check(file: &File, rules: Rules) -> Result<(), Fault> {
    rules.check(&uninterrupted(|| fstat(file.as_fd()))?)
}

/// Repeats a call that a signal interrupts, which happens on remote file systems; nix does not.
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

    /// Creates the file. O_EXCL follows no link.
    fn make(self, path: &Path) -> nix::Result<File> {
        let flags = self.flags() | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = self.create.unwrap_or(Mode::empty());
        uninterrupted(|| open_file(path, flags, mode)).map(File::from)
    }

    /// Opens a file that exists. O_NONBLOCK does not wait at a FIFO that has replaced it.
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
    fn a_file_is_created_for_its_owner_and_opened_again() {
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
    fn links_fifos_sockets_and_files_others_can_write_are_refused_without_waiting() {
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
    fn a_file_of_root_this_user_or_the_named_user_is_accepted() {
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
    fn a_device_is_accepted_where_the_rules_allow_it() {
        let null = Path::new("/dev/null");
        assert!(open(null, APPEND).unwrap().file.write_all(b"x").is_ok());
        assert_eq!(fault(null, Rules { devices: false, ..APPEND }), "not a regular file");
    }
}
