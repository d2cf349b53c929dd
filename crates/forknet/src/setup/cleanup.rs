//! The cleanup helper: a process that removes the pid file and the files of UNIX-domain sockets,
//! and reopens the transcript, for a server that no longer may.
//!
//! A server that has become an ordinary user, or is in a chroot(2), cannot remove the files that it
//! made as root. So it starts a process that still can. The helper waits for the end of file on a
//! socketpair whose other end only the parent has. That comes when the parent ends, also by
//! SIGKILL. Then the helper removes those files, if they are still the same, and ends.
//!
//! Before that it takes requests of one byte, and never a path, so that a server that is taken over
//! can request only actions that were fixed at the start.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use log::warn;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{MsgFlags, Shutdown, recv, setsockopt, shutdown, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Pid, chdir, setpgid};

use sys::fd;
use sys::fork::{Fork, OneTask, child, exit_now, fork};
use sys::scm_rights::{pair, receive, send};
use sys::{proctitle, wait};

use crate::error::{Error, Result, reason, strerror};
use crate::net::interrupt::is_readable;
use crate::setup::held_file::HeldFile;
use crate::setup::pidfile;
use crate::setup::transcript_file::TranscriptFile;

/// Longest wait of a server at its end for the removal of the files, which a busy disk may delay by
/// more than a second.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait of a running server for the helper to answer or to receive.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// The request to remove the files of the sockets.
const SOCKETS_CLOSED: u8 = b'.';
/// The requests to reopen the transcript, or the protocol's log, answered with its descriptor.
const OPEN_TRANSCRIPT: u8 = b't';
const OPEN_LOG: u8 = b'l';
/// The helper's answer on success; any other is the text of an error.
const READY: u8 = 0;
/// Longest text of an error, in bytes.
const MAX_TEXT: usize = 512;

/// The files that a server cannot remove or reopen itself.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) pid_file: Option<PathBuf>,
    /// Files of UNIX-domain sockets.
    pub(crate) sockets: Vec<PathBuf>,
    pub(crate) transcript: Option<TranscriptFile>,
    /// The protocol's own log.
    pub(crate) log: Option<TranscriptFile>,
}

impl Paths {
    pub(crate) fn is_empty(&self) -> bool {
        self.pid_file.is_none()
            && self.sockets.is_empty()
            && self.transcript.is_none()
            && self.log.is_none()
    }
}

/// The parent's end of the socketpair to its cleanup helper. Dropping it starts the cleanup.
#[derive(Debug)]
pub(crate) struct Cleanup {
    channel: OwnedFd,
    /// The process whose drop starts the cleanup; a child only closes its copy.
    owner: u32,
}

impl Cleanup {
    /// Forks the helper for these files. `close_in_child` closes there all other descriptors of
    /// this process. The helper is no child of this process, so that no wait returns it and no
    /// count includes it.
    ///
    /// # Errors
    /// fork(2) failed; one of the files is not there; there is no /dev/null.
    pub(crate) fn spawn(
        name: &str,
        paths: &Paths,
        close_in_child: impl FnOnce(),
    ) -> Result<Cleanup> {
        let (channel, theirs) = pair().map_err(failed("socketpair"))?;
        let owner = std::process::id();
        let alone = OneTask::check().map_err(failed("fork"))?;
        match fork(alone).map_err(failed("fork"))? {
            Fork::Child => child(|| {
                drop(channel);
                match fork(alone) {
                    Ok(Fork::Parent(_)) => exit_now(0), // so that the helper is init's child
                    Ok(Fork::Child) => {
                        close_in_child();
                        proctitle::show(format_args!("{name}: {paths}"));
                        help(name, owner, &theirs, paths)
                    }
                    Err(errno) => report(&theirs, &failed("fork")(errno)),
                }
            }),
            // ECHILD where the starter ignores SIGCHLD, after it has ended.
            Fork::Parent(pid) => drop(wait::wait_for(pid)),
        }
        drop(theirs);
        answer(&channel, None).map_err(|error| Error::Refused(error.to_string()))?;
        let limit = TimeVal::milliseconds(ANSWER_WAIT.as_millis() as i64);
        setsockopt(&channel, sockopt::SendTimeout, &limit).map_err(failed("setsockopt"))?;
        Ok(Cleanup { channel, owner })
    }

    /// Removes the files of UNIX-domain listeners, which are closed.
    pub(crate) fn listeners_closed(&self) {
        if let Err(errno) = send(&self.channel, &[SOCKETS_CLOSED], None) {
            let why = strerror(errno);
            warn!("cleanup helper: {why}: the sockets' files are not removed");
        }
    }

    /// Reopens the transcript.
    ///
    /// # Errors
    /// `transcript /tmp/x: is a symbolic link` and similar; the helper does not answer.
    pub(crate) fn open_transcript(&self) -> io::Result<File> {
        self.reopen(OPEN_TRANSCRIPT)
    }

    /// Reopens the protocol's log.
    ///
    /// # Errors
    /// As [`Cleanup::open_transcript`].
    pub(crate) fn open_log(&self) -> io::Result<File> {
        self.reopen(OPEN_LOG)
    }

    fn reopen(&self, request: u8) -> io::Result<File> {
        while is_readable(self.channel.as_fd()) {
            // A late answer to the last request.
            if !receive(&self.channel, &mut [0]).is_ok_and(|(length, _)| length > 0) {
                break;
            }
        }
        send(&self.channel, &[request], None).map_err(|errno| fault(strerror(errno)))?;
        let file = answer(&self.channel, Some(ANSWER_WAIT))?;
        file.map(File::from).ok_or_else(|| fault("it gave no file"))
    }
}

impl Drop for Cleanup {
    /// Waits for the cleanup, so that the files are removed when this process ends.
    fn drop(&mut self) {
        if self.owner != std::process::id()
            || shutdown(self.channel.as_raw_fd(), Shutdown::Write).is_err()
        {
            return;
        }
        loop {
            match receive_within(&self.channel, &mut [0], Some(LONGEST_WAIT)) {
                Ok((0, _)) => return,
                Ok(_) => {} // a late answer
                Err(error) => {
                    let why = reason(&error);
                    return warn!("cleanup helper: {why}: the files are removed later");
                }
            }
        }
    }
}

fn failed(call: &str) -> impl FnOnce(Errno) -> Error {
    Error::os(format!("cleanup helper: {call}"))
}

/// Makes the error of a helper that cannot be reached.
fn fault(why: impl AsRef<str>) -> io::Error {
    io::Error::other(format!("cleanup helper: {}", why.as_ref()))
}

/// Waits for the helper's answer: a descriptor, nothing, or an error.
fn answer(channel: &OwnedFd, limit: Option<Duration>) -> io::Result<Option<OwnedFd>> {
    let mut text = [0; MAX_TEXT];
    let (length, with) =
        receive_within(channel, &mut text, limit).map_err(|error| fault(reason(&error)))?;
    match text.get(..length).unwrap_or_default() {
        [] => Err(fault("it has ended")),
        [READY] => Ok(with),
        words => Err(io::Error::other(String::from_utf8_lossy(words))),
    }
}

/// Receives a message within a limit.
fn receive_within(
    channel: &OwnedFd,
    buffer: &mut [u8],
    limit: Option<Duration>,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let limit = limit.map_or(0, |limit| limit.as_millis() as i64); // 0 is none
    setsockopt(channel, sockopt::ReceiveTimeout, &TimeVal::milliseconds(limit))?;
    match receive(channel, buffer) {
        Err(Errno::EAGAIN) => Err(io::Error::other("it does not answer")),
        received => Ok(received?),
    }
}

/// Sends an error to the server, in the helper; returns its exit code.
fn report(channel: &OwnedFd, error: &Error) -> i32 {
    let text = error.to_string();
    let text = text.as_bytes().get(..MAX_TEXT).unwrap_or(text.as_bytes());
    let _ = send(channel, text, None); // a server that has ended needs no error
    1
}

/// Runs the helper; returns its exit code.
fn help(name: &str, server: u32, channel: &OwnedFd, paths: &Paths) -> i32 {
    match detach_from_server(name).and_then(|()| Files::open(server, paths)) {
        Ok(files) => {
            let _ = send(channel, &[READY], None); // a server that has ended has left its files
            serve_requests(channel, files, [&paths.transcript, &paths.log]);
            0
        }
        Err(error) => report(channel, &error),
    }
}

fn serve_requests(
    channel: &OwnedFd,
    mut files: Files,
    [transcript, log]: [&Option<TranscriptFile>; 2],
) {
    while let Some(request) = next_request(channel) {
        match (request, transcript, log) {
            ([SOCKETS_CLOSED], _, _) => files.remove_sockets(),
            ([OPEN_TRANSCRIPT], Some(file), _) | ([OPEN_LOG], _, Some(file)) => {
                send_file(channel, file);
            }
            _ => {} // no valid request
        }
    }
    files.remove_sockets();
    files.remove_pid_file();
}

/// Returns the next request; `None` once the server has ended. A longer message is no request.
fn next_request(channel: &OwnedFd) -> Option<[u8; 1]> {
    let mut request = [0; 2];
    loop {
        match recv(channel.as_raw_fd(), &mut request, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => return None,
            Ok(1) => return request.first_chunk().copied(),
            Ok(_) => return Some([READY]),
        }
    }
}

fn send_file(channel: &OwnedFd, file: &TranscriptFile) {
    match file.open() {
        Ok(file) => drop(send(channel, &[READY], Some(file.as_fd()))),
        Err(error) => drop(report(channel, &error)),
    }
}

/// Shows the title: `caretaker of /run/echod.pid, /run/echod.sock`.
impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("caretaker of")?;
        let files = self.pid_file.iter().chain(&self.sockets).map(PathBuf::as_path);
        let files = files.chain(self.transcript.iter().chain(&self.log).map(TranscriptFile::path));
        (0..).zip(files).try_for_each(|(n, path)| {
            write!(f, "{}{}", if n == 0 { " " } else { ", " }, path.display())
        })
    }
}

/// The files, held open.
struct Files {
    server: u32,
    pid_file: Option<HeldFile>,
    sockets: Vec<HeldFile>,
}

impl Files {
    fn open(server: u32, paths: &Paths) -> Result<Files> {
        let open = |path: &PathBuf, how| {
            HeldFile::open(path, how).map_err(failed(&path.display().to_string()))
        };
        let socket = |path| open(path, OFlag::O_PATH);
        // Not O_PATH, because it must be locked.
        let pid_file = |path| open(path, OFlag::O_RDWR | OFlag::O_NONBLOCK);
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
            && pidfile::is_ours(file, self.server)
        {
            file.remove();
        }
    }
}

/// Detaches the helper from the server: blocks all signals, leaves the process group and the
/// current folder, closes the standard streams, and sets a name for ps(1).
///
/// Starts no session of its own, because the kernel divides processor time among sessions first
/// (autogroups of sched(7)), and a new session on an overloaded processor may not run for seconds.
fn detach_from_server(name: &str) -> Result<()> {
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).map_err(failed("sigprocmask"))?;
    setpgid(Pid::this(), Pid::this()).map_err(failed("setpgid"))?;
    chdir("/").map_err(failed("chdir /"))?;
    let null = fd::null().map_err(failed("/dev/null"))?;
    fd::replace_standard(&null, [true; 3]).map_err(failed("dup2"))?;
    let name = CString::new(format!("{name}-caretaker")).map_err(io::Error::from);
    prctl::set_name(&name.map_err(Error::io("cleanup helper: prctl"))?).map_err(failed("prctl"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use testkit::{TempDir, names};

    /// Starts a helper in a thread, with a socket's file and a transcript.
    fn helper(dir: &TempDir) -> (Cleanup, std::thread::JoinHandle<()>) {
        let socket = HeldFile::open(&dir.file("sock", ""), OFlag::O_PATH).unwrap();
        let files = Files { server: 0, pid_file: None, sockets: vec![socket] };
        let transcript = TranscriptFile::at(dir.path().join("transcript"));
        let (channel, theirs) = pair().unwrap();
        let life = move || serve_requests(&theirs, files, [&Some(transcript), &None]);
        let owner = std::process::id();
        (Cleanup { channel, owner }, std::thread::spawn(life))
    }

    #[test]
    fn the_helper_reopens_the_transcript_and_follows_no_link() {
        let dir = TempDir::new();
        let (cleanup, thread) = helper(&dir);
        for text in ["one", "two"] {
            cleanup.open_transcript().unwrap().write_all(text.as_bytes()).unwrap();
        }
        let path = dir.path().join("transcript");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "onetwo");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, format!("transcript {}: is a symbolic link", path.display()));
        std::fs::remove_file(&path).unwrap();
        cleanup.open_transcript().unwrap().write_all(b"three").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        cleanup.listeners_closed();
        drop(cleanup); // waits for the end of file from the thread
        assert_eq!(names(dir.path()), ["transcript"]);
        thread.join().unwrap();
    }

    /// What a server that is taken over could send: paths, long requests, descriptors.
    #[test]
    fn the_helper_accepts_only_its_two_requests() {
        let dir = TempDir::new();
        let (cleanup, thread) = helper(&dir);
        let null = fd::null().unwrap();
        for odd in [&b"t/etc/passwd"[..], b"x", b"\0", b"..", &[b't'; 100_000], b"rm -r /"] {
            send(&cleanup.channel, odd, None).unwrap();
        }
        send(&cleanup.channel, b"?", Some(null.as_fd())).unwrap();
        let file = cleanup.open_transcript().unwrap(); // the first request that is answered
        assert!(!is_readable(cleanup.channel.as_fd()), "one request, one answer");
        assert_eq!(names(dir.path()), ["sock", "transcript"]);
        drop((file, cleanup));
        thread.join().unwrap();
        assert_eq!(names(dir.path()), ["transcript"]);
    }

    #[test]
    fn a_helper_that_has_ended_or_does_not_answer_is_reported() {
        let (channel, theirs) = pair().unwrap();
        let cleanup = Cleanup { channel, owner: 0 };
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, "cleanup helper: it does not answer");
        // A late answer is no answer to the next request.
        send(&theirs, b"late", None).unwrap();
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, "cleanup helper: it does not answer");
        drop(theirs);
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, "cleanup helper: Broken pipe");
    }
}
