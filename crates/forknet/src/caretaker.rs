//! Who removes the pid file and the files of UNIX-domain sockets, when the server no longer may.
//!
//! A server that has become an ordinary user, or sees nothing but a chroot(2), cannot remove what
//! it made as root. So it leaves a process behind that still can, and does nothing else: it waits
//! for the end of file on a socketpair whose other end only the parent has. That comes when the
//! parent ends, also by SIGKILL; then it removes those files, if they are still the same ones, and
//! ends too.

use std::ffi::{CString, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, UnlinkatFlags, chdir, setpgid, unlinkat};

use crate::error::{Error, Result, reason};
use crate::fork::{Fork, child, exit_now, fork};
use crate::inherit::to_null;
use crate::pidfile;
use crate::title::Titles;

/// How long a server waits at its end until the files are gone: a disk that is busy lets the caretaker
/// wait for a second and more.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the caretaker says once it is ready; else it is the errno of what failed.
const READY: u8 = 0;

/// The parent's end of the line to its caretaker. Dropping it is the order to clean up.
#[derive(Debug)]
pub(crate) struct Caretaker {
    line: UnixStream,
    /// The process that the caretaker works for; a child that drops its copy only closes it.
    owner: u32,
}

impl Caretaker {
    /// Forks the caretaker of these files. It is no child of this process: nothing that waits for
    /// children or counts them will meet it.
    pub(crate) fn hire(
        name: &str,
        titles: Titles,
        pid_file: Option<&Path>,
        sockets: &[PathBuf],
    ) -> Result<Caretaker> {
        let (mut line, mut theirs) =
            UnixStream::pair().map_err(Error::io("caretaker: socketpair"))?;
        let owner = std::process::id();
        match fork().map_err(Error::os("caretaker: fork"))? {
            Fork::Child => child(|| {
                drop(line);
                match fork() {
                    Ok(Fork::Parent(_)) => exit_now(0), // and so the caretaker is init's child
                    Ok(Fork::Child) => {
                        titles.show(Charge(pid_file, sockets));
                        care(name, owner, theirs, pid_file, sockets)
                    }
                    Err(errno) => theirs.write_all(&[errno as u8]).map_or(1, |()| 1),
                }
            }),
            // ECHILD where the starter ignores SIGCHLD: it has ended all the same.
            Fork::Parent(pid) => drop(waitpid(pid, None)),
        }
        drop(theirs);
        let mut answer = [READY];
        line.read_exact(&mut answer).map_err(Error::io("caretaker"))?;
        if answer != [READY] {
            let [errno] = answer.map(|octet| Errno::from_raw(octet.into()));
            return Err(Error::os("caretaker")(errno));
        }
        line.set_read_timeout(Some(PATIENCE)).map_err(Error::io("caretaker: setsockopt"))?;
        Ok(Caretaker { line, owner })
    }

    /// The listeners are closed: the files of the UNIX-domain ones can go.
    pub(crate) fn listeners_closed(&self) {
        if let Err(error) = (&self.line).write_all(b".") {
            warn!("caretaker: {}: the sockets' files stay behind", reason(&error));
        }
    }
}

impl Drop for Caretaker {
    /// Waits until all is done, so that whoever sees this process end finds the files gone.
    fn drop(&mut self) {
        if self.owner == std::process::id()
            && self.line.shutdown(Shutdown::Write).is_ok()
            && let Err(error) = self.line.read(&mut [0])
        {
            warn!("caretaker: {}: the files stay for a moment", reason(&error));
        }
    }
}

/// The caretaker's whole life.
fn care(
    name: &str,
    server: u32,
    line: UnixStream,
    pid_file: Option<&Path>,
    sockets: &[PathBuf],
) -> i32 {
    let Ok(mut line) = close_all_but(line) else { return 1 };
    let prepared = leave_the_server(name).and_then(|()| Estate::open(server, pid_file, sockets));
    let answer = prepared.as_ref().map_or_else(|errno| *errno as u8, |_| READY);
    let (Ok(mut estate), Ok(())) = (prepared, line.write_all(&[answer])) else { return 1 };
    while matches!(line.read(&mut [0]), Ok(1)) {
        estate.remove_sockets();
    }
    estate.remove_sockets();
    estate.remove_pid_file();
    0
}

/// What the title says: `caretaker of /run/echod.pid, /run/echod.sock`
struct Charge<'p>(Option<&'p Path>, &'p [PathBuf]);

impl fmt::Display for Charge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("caretaker of")?;
        let paths = self.0.into_iter().chain(self.1.iter().map(PathBuf::as_path));
        (0..).zip(paths).try_for_each(|(n, path)| {
            write!(f, "{}{}", if n == 0 { " " } else { ", " }, path.display())
        })
    }
}

/// All that a server leaves behind.
struct Estate {
    server: u32,
    pid_file: Option<Remains>,
    sockets: Vec<Remains>,
}

impl Estate {
    fn open(server: u32, pid_file: Option<&Path>, sockets: &[PathBuf]) -> nix::Result<Estate> {
        let socket = |path: &PathBuf| Remains::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW);
        Ok(Estate {
            server,
            // Not O_PATH: it must be locked.
            pid_file: pid_file.map(|path| Remains::open(path, OFlag::O_RDWR)).transpose()?,
            sockets: sockets.iter().map(socket).collect::<nix::Result<_>>()?,
        })
    }

    fn remove_sockets(&mut self) {
        self.sockets.drain(..).for_each(|socket| socket.remove());
    }

    fn remove_pid_file(&self) {
        if let Some(file) = &self.pid_file
            && pidfile::is_ours(&file.file, self.server)
        {
            file.remove();
        }
    }
}

/// No signal but SIGKILL, and none that a whole process group is sent; no folder that somebody may
/// want to unmount, and a name of its own in ps(1).
///
/// No session of its own: the kernel shares the processors out among sessions first (autogroups of
/// sched(7)), and one that begins while a processor is overloaded may get nothing of it for seconds.
fn leave_the_server(name: &str) -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    setpgid(Pid::this(), Pid::this())?;
    chdir("/")?;
    to_null([true; 3])?;
    let name = CString::new(format!("{name}-caretaker")).map_err(|_| Errno::EINVAL)?;
    prctl::set_name(&name)
}

/// Closes every descriptor from 3 on, whatever it is, but the line.
fn close_all_but(line: UnixStream) -> nix::Result<UnixStream> {
    let line = line.into_raw_fd();
    // SAFETY: plain numbers. The owners of the descriptors that are closed here are copies of the
    // parent's, in a process that ends by _exit and never looks at them again.
    unsafe {
        Errno::result(if line == 3 { 3 } else { libc::dup2(line, 3) })?;
        Errno::result(libc::close_range(4, libc::c_uint::MAX, 0))?;
        Ok(UnixStream::from_raw_fd(3))
    }
}

/// A file that is to be removed: its folder and the file itself are held, so that neither a rename
/// further up nor a new file of the same name or inode number is mistaken for it.
#[derive(Debug)]
struct Remains {
    folder: OwnedFd,
    name: OsString,
    file: OwnedFd,
}

impl Remains {
    fn open(path: &Path, how: OFlag) -> nix::Result<Remains> {
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(folder, flags, Mode::empty())?;
        let file = openat(&folder, name, how | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Remains { folder, name: name.to_owned(), file })
    }

    /// Nobody hears of a failure; the next server copes with what is left.
    fn remove(&self) {
        if self.is_still_there() {
            let _stays_behind = unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir);
        }
    }

    fn is_still_there(&self) -> bool {
        let there = fstatat(&self.folder, &*self.name, AtFlags::empty());
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        there.is_ok_and(|there| fstat(&self.file).is_ok_and(|held| same(there, held)))
    }
}
