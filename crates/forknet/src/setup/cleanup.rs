//! The process that removes the pid file and the files of UNIX-domain sockets, and opens the transcript
//! again, when the server no longer may.
//!
//! A server that has become an ordinary user, or sees nothing but a chroot(2), cannot remove what
//! it made as root. So it leaves a process behind that still can. That waits for the end of a line whose
//! other end only the parent has. The end comes when the parent ends, also by SIGKILL; then the helper
//! removes those files, if they are still the same ones, and ends too.
//!
//! Until then it takes orders of one byte, and never a path: a server that is taken over can have done
//! what was settled at the start, and nothing else.

use std::ffi::{CString, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{MsgFlags, Shutdown, recv, setsockopt, shutdown, sockopt};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Pid, UnlinkatFlags, chdir, setpgid, unlinkat};

use sys::fd;
use sys::fork::{Fork, OneTask, child, exit_now, fork};
use sys::scm_rights::{line, receive, send};
use sys::{proctitle, wait};

use crate::error::{Error, Result, reason};
use crate::net::interrupt::is_readable;
use crate::setup::pidfile;
use crate::setup::transcript_file::TranscriptFile;

/// Longest wait of a server at its end until the files are gone: a busy disk lets the helper wait for a
/// second and more.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait of a server that serves meanwhile, for an answer or for room to ask.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// The order after which the files of the sockets go.
const SOCKETS_CLOSED: u8 = b'.';
/// The order to open the transcript again, which is answered with its descriptor.
const OPEN_TRANSCRIPT: u8 = b't';
/// The helper's answer when all is well; any other is what has failed, in words.
const READY: u8 = 0;
/// Longest answer in words, in bytes.
const LONGEST_TEXT: usize = 512;

/// What a server leaves behind, and what it cannot open again.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) pid_file: Option<PathBuf>,
    /// Files of UNIX-domain sockets.
    pub(crate) sockets: Vec<PathBuf>,
    pub(crate) transcript: Option<TranscriptFile>,
}

impl Paths {
    pub(crate) fn is_empty(&self) -> bool {
        self.pid_file.is_none() && self.sockets.is_empty() && self.transcript.is_none()
    }
}

/// The parent's end of the line to its cleanup helper. Dropping it is the order to clean up.
#[derive(Debug)]
pub(crate) struct Cleanup {
    line: OwnedFd,
    /// The process that the helper works for; a child that drops its copy only closes it.
    owner: u32,
}

impl Cleanup {
    /// Forks the helper for these files, which `let_go`es of all other descriptors of this process. It is
    /// no child of this process: nothing that waits for children or counts them will meet it.
    ///
    /// # Errors
    /// fork(2) failed; one of the files is not there; there is no /dev/null.
    pub(crate) fn spawn(name: &str, paths: &Paths, let_go: impl FnOnce()) -> Result<Cleanup> {
        let (line, theirs) = line().map_err(failed("socketpair"))?;
        let owner = std::process::id();
        let alone = OneTask::check().map_err(failed("fork"))?;
        match fork(alone).map_err(failed("fork"))? {
            Fork::Child => child(|| {
                drop(line);
                match fork(alone) {
                    Ok(Fork::Parent(_)) => exit_now(0), // and so the helper is init's child
                    Ok(Fork::Child) => {
                        let_go();
                        proctitle::show(format_args!("{name}: {paths}"));
                        help(name, owner, &theirs, paths)
                    }
                    Err(errno) => tell(&theirs, &Error::os("fork")(errno)),
                }
            }),
            // ECHILD where the starter ignores SIGCHLD: it has ended all the same.
            Fork::Parent(pid) => drop(wait::wait_for(pid)),
        }
        drop(theirs);
        answer(&line, None).map_err(Error::io("cleanup helper"))?;
        let limit = TimeVal::milliseconds(ANSWER_WAIT.as_millis() as i64);
        setsockopt(&line, sockopt::SendTimeout, &limit).map_err(failed("setsockopt"))?;
        Ok(Cleanup { line, owner })
    }

    /// The listeners are closed: the files of the UNIX-domain ones can go.
    pub(crate) fn listeners_closed(&self) {
        if let Err(errno) = send(&self.line, &[SOCKETS_CLOSED], None) {
            let why = reason(&errno.into());
            warn!("cleanup helper: {why}: the sockets' files stay behind");
        }
    }

    /// The transcript, opened again.
    ///
    /// # Errors
    /// `transcript /tmp/x: is a symbolic link`, and the like; the helper does not answer.
    pub(crate) fn open_transcript(&self) -> io::Result<File> {
        while is_readable(self.line.as_fd()) {
            // An answer to the last order, which came too late.
            if !receive(&self.line, &mut [0]).is_ok_and(|(length, _)| length > 0) {
                break;
            }
        }
        send(&self.line, &[OPEN_TRANSCRIPT], None)?;
        let file = answer(&self.line, Some(ANSWER_WAIT))?;
        file.map(File::from).ok_or_else(|| io::Error::other("no file came"))
    }
}

impl Drop for Cleanup {
    /// Waits until all is done, so that whatever sees this process end finds the files gone.
    fn drop(&mut self) {
        if self.owner != std::process::id()
            || shutdown(self.line.as_raw_fd(), Shutdown::Write).is_err()
        {
            return;
        }
        loop {
            match hear(&self.line, &mut [0], Some(LONGEST_WAIT)) {
                Ok((0, _)) => return,
                Ok(_) => {} // an answer that came too late
                Err(error) => {
                    let why = reason(&error);
                    return warn!("cleanup helper: {why}: the files stay for a moment");
                }
            }
        }
    }
}

fn failed(call: &str) -> impl FnOnce(Errno) -> Error {
    Error::os(format!("cleanup helper: {call}"))
}

/// Waits for the helper's answer: a descriptor or nothing, or what has failed.
fn answer(line: &OwnedFd, limit: Option<Duration>) -> io::Result<Option<OwnedFd>> {
    let mut text = [0; LONGEST_TEXT];
    let (length, with) = hear(line, &mut text, limit)?;
    match text.get(..length).unwrap_or_default() {
        [] => Err(io::Error::other("it has ended")),
        [READY] => Ok(with),
        words => Err(io::Error::other(String::from_utf8_lossy(words))),
    }
}

/// receive, for no longer than a limit.
fn hear(
    line: &OwnedFd,
    buffer: &mut [u8],
    limit: Option<Duration>,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let limit = limit.map_or(0, |limit| limit.as_millis() as i64); // 0 is none
    setsockopt(line, sockopt::ReceiveTimeout, &TimeVal::milliseconds(limit))?;
    match receive(line, buffer) {
        Err(Errno::EAGAIN) => Err(io::Error::other("it does not answer")),
        heard => Ok(heard?),
    }
}

/// For the helper: tells the server what has failed; gives its exit code.
fn tell(line: &OwnedFd, error: &Error) -> i32 {
    let text = error.to_string();
    let text = text.as_bytes().get(..LONGEST_TEXT).unwrap_or(text.as_bytes());
    let _ = send(line, text, None); // a server that is gone need not hear it
    1
}

/// The helper's whole life.
fn help(name: &str, server: u32, line: &OwnedFd, paths: &Paths) -> i32 {
    let mut files = match leave_the_server(name).and_then(|()| Files::open(server, paths)) {
        Ok(files) => files,
        Err(error) => return tell(line, &error),
    };
    let _ = send(line, &[READY], None); // a server that is gone has left its files behind
    while let Some(order) = next_order(line) {
        match (order, &paths.transcript) {
            ([SOCKETS_CLOSED], _) => files.remove_sockets(),
            ([OPEN_TRANSCRIPT], Some(transcript)) => give_transcript(line, transcript),
            _ => {} // no order of ours
        }
    }
    files.remove_sockets();
    files.remove_pid_file();
    0
}

/// The next order; none once the server has ended. A longer message is cut, and is no order.
fn next_order(line: &OwnedFd) -> Option<[u8; 1]> {
    let mut order = [0; 2];
    loop {
        match recv(line.as_raw_fd(), &mut order, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => return None,
            Ok(1) => return order.first_chunk().copied(),
            Ok(_) => return Some([READY]),
        }
    }
}

fn give_transcript(line: &OwnedFd, transcript: &TranscriptFile) {
    match transcript.open() {
        Ok(file) => drop(send(line, &[READY], Some(file.as_fd()))),
        Err(error) => drop(tell(line, &error)),
    }
}

/// What the title says: `caretaker of /run/echod.pid, /run/echod.sock`
impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("caretaker of")?;
        let files = self.pid_file.iter().chain(&self.sockets).map(PathBuf::as_path);
        let files = files.chain(self.transcript.as_ref().map(TranscriptFile::path));
        (0..).zip(files).try_for_each(|(n, path)| {
            write!(f, "{}{}", if n == 0 { " " } else { ", " }, path.display())
        })
    }
}

/// The files themselves, held open.
struct Files {
    server: u32,
    pid_file: Option<HeldFile>,
    sockets: Vec<HeldFile>,
}

impl Files {
    fn open(server: u32, paths: &Paths) -> Result<Files> {
        let socket = |path: &PathBuf| HeldFile::open(path, OFlag::O_PATH);
        // Not O_PATH: it must be locked.
        let pid_file = |path: &PathBuf| HeldFile::open(path, OFlag::O_RDWR | OFlag::O_NONBLOCK);
        Ok(Files {
            server,
            pid_file: paths.pid_file.as_ref().map(pid_file).transpose()?,
            sockets: paths.sockets.iter().map(socket).collect::<Result<_>>()?,
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

/// No signal but SIGKILL, and none that a whole process group is sent; no folder that an administrator
/// may want to unmount, and a name of its own in ps(1).
///
/// No session of its own: the kernel shares the processors out among sessions first (autogroups of
/// sched(7)), and one that begins while a processor is overloaded may get nothing of it for seconds.
fn leave_the_server(name: &str) -> Result<()> {
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).map_err(Error::os("sigprocmask"))?;
    setpgid(Pid::this(), Pid::this()).map_err(Error::os("setpgid"))?;
    chdir("/").map_err(Error::os("chdir /"))?;
    let null = fd::null().map_err(Error::os("/dev/null"))?;
    fd::replace_standard(&null, [true; 3]).map_err(Error::os("dup2"))?;
    let name = CString::new(format!("{name}-caretaker")).map_err(io::Error::from);
    prctl::set_name(&name.map_err(Error::io("prctl"))?).map_err(Error::os("prctl"))
}

/// A file that is to be removed: its folder and the file itself are held, so that neither a rename
/// further up nor a new file of the same name or inode number is mistaken for it.
#[derive(Debug)]
struct HeldFile {
    folder: OwnedFd,
    name: OsString,
    file: OwnedFd,
}

impl HeldFile {
    fn open(path: &Path, how: OFlag) -> Result<HeldFile> {
        let held = || {
            let name = path.file_name().ok_or(Errno::EISDIR)?;
            let folder = path.parent().unwrap_or(Path::new("/"));
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let folder = open(folder, flags, Mode::empty())?;
            let how = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = openat(&folder, name, how, Mode::empty())?;
            Ok(HeldFile { folder, name: name.to_owned(), file })
        };
        held().map_err(Error::os(path.display().to_string()))
    }

    /// A failure is told nowhere; the next server copes with what is left.
    fn remove(&self) {
        if self.is_still_there() {
            let _ = unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir); // see above
        }
    }

    fn is_still_there(&self) -> bool {
        let there = fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        there.is_ok_and(|there| fstat(&self.file).is_ok_and(|held| same(there, held)))
    }
}
