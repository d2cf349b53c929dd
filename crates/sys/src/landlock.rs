//! Landlock: a process drops the rights to the file system that it does not need (landlock(7)).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// The rights to files and folders (`LANDLOCK_ACCESS_FS_` of <linux/landlock.h>) that a rule set
/// handles: what it does not allow is denied. Each version of Landlock adds some.
const FILES: [(u32, u64); 4] = [(1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)];
/// Flags of these rights: `LANDLOCK_ACCESS_FS_WRITE_FILE` and so on.
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// Flags of `LANDLOCK_ACCESS_NET_`, from version 4 on: to bind and to connect TCP sockets.
const TCP: (u32, u64) = (4, 0b11);
/// Flags of `LANDLOCK_SCOPE_`, from version 6 on: abstract UNIX sockets, signals to processes outside.
const SCOPES: (u32, u64) = (6, 0b11);
/// The flag `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// The flag `LANDLOCK_ACCESS_NET_CONNECT_TCP`.
const CONNECT_TCP: u64 = 1 << 1;
/// The types of rules, for a folder and for a port: `LANDLOCK_RULE_PATH_BENEATH`, `LANDLOCK_RULE_NET_PORT`.
const PATH_BENEATH: u32 = 1;
const NET_PORT: u32 = 2;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttr {
    files: u64,
    network: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed: u64,
    folder: RawFd,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPortAttr {
    allowed: u64,
    port: u64,
}

/// The rights that a process keeps below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading files and folders.
    Read,
    /// Reading, and making, writing, truncating, renaming and removing regular files. From one folder to another they
    /// can be renamed from version 2 on.
    Write,
    /// The same, and making folders.
    WriteAndMakeFolders,
}

/// A rule set. A process that enters it can open only what the rules allow, can make no TCP
/// connection but to the ports that they allow, and can signal no other process, as far as the kernel's version of Landlock supports
/// that. What it has open stays open.
#[derive(Debug)]
pub struct Landlock {
    rules: OwnedFd,
    version: u32,
}

/// Returns the rights to files and folders that this version handles.
fn handled(version: u32) -> u64 {
    FILES.into_iter().filter(|(since, _)| version >= *since).map(|(_, bits)| bits).sum()
}

impl Landlock {
    /// Makes a rule set that allows nothing yet; `None` on a kernel without Landlock.
    ///
    /// # Errors
    /// As landlock_create_ruleset(2).
    pub fn new() -> nix::Result<Option<Landlock>> {
        // SAFETY: with this flag the kernel takes no attributes and answers with a number.
        let version = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                ptr::null::<RulesetAttr>(),
                0usize,
                VERSION,
            )
        };
        let version = match Errno::result(version) {
            Ok(version) => u32::try_from(version).unwrap_or_default(),
            // An older kernel, or one built or booted without Landlock.
            Err(Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let known = |(since, bits): (u32, u64)| if version >= since { bits } else { 0 };
        let attr =
            RulesetAttr { files: handled(version), network: known(TCP), scopes: known(SCOPES) };
        // SAFETY: `attr` is the struct that the kernel reads, of the size that is passed; fields
        // that an older kernel does not know are zero, as it requires.
        let rules = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of_val(&attr), 0)
        };
        let rules = RawFd::try_from(Errno::result(rules)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor (with O_CLOEXEC), and nothing else owns
        // it.
        let rules = unsafe { OwnedFd::from_raw_fd(rules) };
        Ok(Some(Landlock { rules, version }))
    }

    /// Returns the kernel's version of Landlock.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Allows what is below `folder`, which may be open with O_PATH.
    ///
    /// # Errors
    /// As landlock_add_rule(2).
    pub fn allow(&self, folder: impl AsFd, access: Access) -> nix::Result<()> {
        let read = READ_FILE | READ_DIR;
        let write = read | WRITE_FILE | MAKE_REG | REMOVE_FILE | REFER | TRUNCATE;
        let wanted = match access {
            Access::Read => read,
            Access::Write => write,
            Access::WriteAndMakeFolders => write | MAKE_DIR,
        };
        let allowed = wanted & handled(self.version);
        let attr = PathBeneathAttr { allowed, folder: folder.as_fd().as_raw_fd() };
        let rules = self.rules.as_raw_fd();
        // SAFETY: `attr` is the struct of this kind of rule; both descriptors are open.
        let added = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, rules, PATH_BENEATH, &raw const attr, 0)
        };
        Errno::result(added).map(drop)
    }

    /// Allows TCP connections to this port of every host.
    ///
    /// # Errors
    /// As landlock_add_rule(2).
    pub fn allow_connect(&self, port: u16) -> nix::Result<()> {
        if self.version < TCP.0 {
            return Ok(()); // it restricts none
        }
        let attr = NetPortAttr { allowed: CONNECT_TCP, port: port.into() };
        let rules = self.rules.as_raw_fd();
        // SAFETY: `attr` is the struct of this kind of rule; the descriptor is open.
        let added = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, rules, NET_PORT, &raw const attr, 0)
        };
        Errno::result(added).map(drop)
    }

    /// Restricts this process and its later children to the rules, for good. It can no longer gain
    /// rights by execve(2) (PR_SET_NO_NEW_PRIVS).
    ///
    /// # Errors
    /// As prctl(2) and landlock_restrict_self(2).
    pub fn enter(&self) -> nix::Result<()> {
        nix::sys::prctl::set_no_new_privs()?;
        // SAFETY: takes a descriptor, which is open, and flags; touches no memory of ours.
        let entered =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.rules.as_raw_fd(), 0) };
        Errno::result(entered).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, File};
    use std::io;
    use std::net::{TcpListener, TcpStream};

    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use nix::sys::wait::{WaitStatus, waitpid};
    use testkit::TempDir;

    use crate::fork::{Fork, exit_now, fork_among_threads};

    /// Returns the exit code of `life` in a restricted process; `None` without Landlock.
    fn inside(access: Access, folder: &TempDir, life: impl FnOnce() -> i32) -> Option<i32> {
        let rules = Landlock::new().unwrap()?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        rules.allow(open(folder.path(), flags, Mode::empty()).unwrap(), access).unwrap();
        match fork_among_threads().unwrap() {
            Fork::Child => exit_now(if rules.enter().is_ok() { life() } else { 99 }),
            Fork::Parent(pid) => match waitpid(pid, None).unwrap() {
                WaitStatus::Exited(_, code) => Some(code),
                status => panic!("{status:?}"),
            },
        }
    }

    /// Returns 0 where permission was denied.
    fn denied<T>(result: io::Result<T>) -> i32 {
        i32::from(!result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
    }

    #[test]
    fn files_outside_cannot_be_opened_and_files_inside_can_be_read() {
        let (dir, outside) = (TempDir::new(), TempDir::new());
        let (file, secret) = (dir.file("x", "x"), outside.file("secret", "secret"));
        let open = File::open(&secret).unwrap();
        let code = inside(Access::Read, &dir, || {
            denied(File::open(&secret))
                | denied(fs::read_dir(outside.path())) << 1
                | denied(fs::write(outside.path().join("new"), "")) << 2
                | denied(fs::write(&file, "y")) << 3
                | i32::from(fs::read(&file).is_err()) << 4
                | i32::from(io::read_to_string(&open).is_err()) << 5
        });
        assert!(matches!(code, None | Some(0)), "{code:?}");
    }

    #[test]
    fn with_write_access_files_are_made_renamed_and_removed_inside_only() {
        let (dir, outside) = (TempDir::new(), TempDir::new());
        fs::create_dir(dir.path().join("to")).unwrap();
        let code = inside(Access::Write, &dir, || {
            let (one, two) = (dir.path().join("1"), dir.path().join("2"));
            let cut = |file: File| file.set_len(0);
            i32::from(fs::write(&one, "x").is_err())
                | i32::from(File::options().write(true).open(&one).and_then(cut).is_err()) << 7
                | i32::from(fs::rename(&one, &two).is_err()) << 1
                | denied(fs::hard_link(&two, outside.path().join("3"))) << 2
                | denied(std::os::unix::fs::symlink("x", dir.path().join("4"))) << 3
                | denied(fs::create_dir(dir.path().join("5"))) << 4
                | i32::from(fs::rename(&two, dir.path().join("to/2")).is_err()) << 5
                | i32::from(fs::remove_file(dir.path().join("to/2")).is_err()) << 6
        });
        // The first version refuses with EXDEV what leads to another folder.
        let is_first = Landlock::new().unwrap().is_some_and(|rules| rules.version() < 2);
        assert!(code.is_none_or(|code| code == 0 || is_first), "{code:?}");
    }

    #[test]
    fn no_tcp_connection_is_made_from_version_4_on() {
        let Some(rules) = Landlock::new().unwrap() else { return };
        if rules.version() < 4 {
            return;
        }
        let (dir, listener) = (TempDir::new(), TcpListener::bind("127.0.0.1:0").unwrap());
        let to = listener.local_addr().unwrap();
        let code = inside(Access::Read, &dir, || {
            denied(TcpStream::connect(to)) | denied(TcpListener::bind("127.0.0.1:0")) << 1
        });
        assert_eq!(code, Some(0));
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let allowed = Landlock::new().unwrap().unwrap();
        allowed.allow_connect(to.port()).unwrap();
        let life = || {
            i32::from(TcpStream::connect(to).is_err())
                | denied(TcpStream::connect(other.local_addr().unwrap())) << 1
        };
        let status = match fork_among_threads().unwrap() {
            Fork::Child => exit_now(if allowed.enter().is_ok() { life() } else { 99 }),
            Fork::Parent(pid) => waitpid(pid, None).unwrap(),
        };
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    }
}
