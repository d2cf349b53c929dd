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
const MAX_TEXT: usize = 512;

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
    channel: OwnedFd,
    /// The process that the helper works for; a child that drops its copy only closes it.
    owner: u32,
}

impl Cleanup {
    /// Forks the helper for these files, which `close_in_child`es of all other descriptors of this process. It is
    /// no child of this process: nothing that waits for children or counts them will meet it.
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
                    Ok(Fork::Parent(_)) => exit_now(0), // and so the helper is init's child
                    Ok(Fork::Child) => {
                        close_in_child();
                        proctitle::show(format_args!("{name}: {paths}"));
                        help(name, owner, &theirs, paths)
                    }
                    Err(errno) => report(&theirs, &failed("fork")(errno)),
                }
            }),
            // ECHILD where the starter ignores SIGCHLD: it has ended all the same.
            Fork::Parent(pid) => drop(wait::wait_for(pid)),
        }
        drop(theirs);
        answer(&channel, None).map_err(|error| Error::Refused(error.to_string()))?;
        let limit = TimeVal::milliseconds(ANSWER_WAIT.as_millis() as i64);
        setsockopt(&channel, sockopt::SendTimeout, &limit).map_err(failed("setsockopt"))?;
        Ok(Cleanup { channel, owner })
    }

    /// The listeners are closed: the files of the UNIX-domain ones can go.
    pub(crate) fn listeners_closed(&self) {
        if let Err(errno) = send(&self.channel, &[SOCKETS_CLOSED], None) {
            let why = strerror(errno);
            warn!("cleanup helper: {why}: the sockets' files stay behind");
        }
    }

    /// The transcript, opened again.
    ///
    /// # Errors
    /// `transcript /tmp/x: is a symbolic link`, and the like; the helper does not answer.
    pub(crate) fn open_transcript(&self) -> io::Result<File> {
        while is_readable(self.channel.as_fd()) {
            // An answer to the last order, which came too late.
            if !receive(&self.channel, &mut [0]).is_ok_and(|(length, _)| length > 0) {
                break;
            }
        }
        send(&self.channel, &[OPEN_TRANSCRIPT], None).map_err(|errno| trouble(strerror(errno)))?;
        let file = answer(&self.channel, Some(ANSWER_WAIT))?;
        file.map(File::from).ok_or_else(|| trouble("it gave no file"))
    }
}

impl Drop for Cleanup {
    /// Waits until all is done, so that whatever sees this process end finds the files gone.
    fn drop(&mut self) {
        if self.owner != std::process::id()
            || shutdown(self.channel.as_raw_fd(), Shutdown::Write).is_err()
        {
            return;
        }
        loop {
            match receive_within(&self.channel, &mut [0], Some(LONGEST_WAIT)) {
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

/// What is wrong with the line, or the process behind it.
fn trouble(why: impl AsRef<str>) -> io::Error {
    io::Error::other(format!("cleanup helper: {}", why.as_ref()))
}

/// Waits for the helper's answer: a descriptor or nothing, or what has failed in its own words.
fn answer(channel: &OwnedFd, limit: Option<Duration>) -> io::Result<Option<OwnedFd>> {
    let mut text = [0; MAX_TEXT];
    let (length, with) =
        receive_within(channel, &mut text, limit).map_err(|error| trouble(reason(&error)))?;
    match text.get(..length).unwrap_or_default() {
        [] => Err(trouble("it has ended")),
        [READY] => Ok(with),
        words => Err(io::Error::other(String::from_utf8_lossy(words))),
    }
}

/// receive, for no longer than a limit.
fn receive_within(
    channel: &OwnedFd,
    buffer: &mut [u8],
    limit: Option<Duration>,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let limit = limit.map_or(0, |limit| limit.as_millis() as i64); // 0 is none
    setsockopt(channel, sockopt::ReceiveTimeout, &TimeVal::milliseconds(limit))?;
    match receive(channel, buffer) {
        Err(Errno::EAGAIN) => Err(io::Error::other("it does not answer")),
        heard => Ok(heard?),
    }
}

/// For the helper: tells the server what has failed; gives its exit code.
fn report(channel: &OwnedFd, error: &Error) -> i32 {
    let text = error.to_string();
    let text = text.as_bytes().get(..MAX_TEXT).unwrap_or(text.as_bytes());
    let _ = send(channel, text, None); // a server that is gone need not hear it
    1
}

/// The helper's whole life.
fn help(name: &str, server: u32, channel: &OwnedFd, paths: &Paths) -> i32 {
    match detach_from_server(name).and_then(|()| Files::open(server, paths)) {
        Ok(files) => {
            let _ = send(channel, &[READY], None); // a server that is gone has left its files behind
            take_orders(channel, files, paths.transcript.as_ref());
            0
        }
        Err(error) => report(channel, &error),
    }
}

fn take_orders(channel: &OwnedFd, mut files: Files, transcript: Option<&TranscriptFile>) {
    while let Some(order) = next_order(channel) {
        match (order, transcript) {
            ([SOCKETS_CLOSED], _) => files.remove_sockets(),
            ([OPEN_TRANSCRIPT], Some(transcript)) => send_transcript(channel, transcript),
            _ => {} // no order of ours
        }
    }
    files.remove_sockets();
    files.remove_pid_file();
}

/// The next order; none once the server has ended. A longer message is cut, and is no order.
fn next_order(channel: &OwnedFd) -> Option<[u8; 1]> {
    let mut order = [0; 2];
    loop {
        match recv(channel.as_raw_fd(), &mut order, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => return None,
            Ok(1) => return order.first_chunk().copied(),
            Ok(_) => return Some([READY]),
        }
    }
}

fn send_transcript(channel: &OwnedFd, transcript: &TranscriptFile) {
    match transcript.open() {
        Ok(file) => drop(send(channel, &[READY], Some(file.as_fd()))),
        Err(error) => drop(report(channel, &error)),
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
        let open = |path: &PathBuf, how| {
            HeldFile::open(path, how).map_err(failed(&path.display().to_string()))
        };
        let socket = |path| open(path, OFlag::O_PATH);
        // Not O_PATH: it must be locked.
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

/// No signal but SIGKILL, and none that a whole process group is sent; no folder that an administrator
/// may want to unmount, and a name of its own in ps(1).
///
/// No session of its own: the kernel shares the processors out among sessions first (autogroups of
/// sched(7)), and one that begins while a processor is overloaded may get nothing of it for seconds.
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

    /// A helper in a thread, with a socket's file and a transcript to look after.
    fn helper(dir: &TempDir) -> (Cleanup, std::thread::JoinHandle<()>) {
        let socket = HeldFile::open(&dir.file("sock", ""), OFlag::O_PATH).unwrap();
        let files = Files { server: 0, pid_file: None, sockets: vec![socket] };
        let transcript = TranscriptFile::at(dir.path().join("transcript"));
        let (channel, theirs) = pair().unwrap();
        let life = move || take_orders(&theirs, files, Some(&transcript));
        let owner = std::process::id();
        (Cleanup { channel, owner }, std::thread::spawn(life))
    }

    #[test]
    fn the_helper_gives_the_transcript_again_and_again_whatever_its_name_leads_to() {
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
        drop(cleanup); // waits for the end of the line, whose other end the thread has
        assert_eq!(names(dir.path()), ["transcript"]);
        thread.join().unwrap();
    }

    /// What a server could say that is taken over: paths, long orders, descriptors of its own.
    #[test]
    fn the_helper_hears_nothing_but_its_two_orders() {
        let dir = TempDir::new();
        let (cleanup, thread) = helper(&dir);
        let null = fd::null().unwrap();
        for odd in [&b"t/etc/passwd"[..], b"x", b"\0", b"..", &[b't'; 100_000], b"rm -r /"] {
            send(&cleanup.channel, odd, None).unwrap();
        }
        send(&cleanup.channel, b"?", Some(null.as_fd())).unwrap();
        let file = cleanup.open_transcript().unwrap(); // the first that is answered
        assert!(!is_readable(cleanup.channel.as_fd()), "one order, one answer");
        assert_eq!(names(dir.path()), ["sock", "transcript"]);
        drop((file, cleanup));
        thread.join().unwrap();
        assert_eq!(names(dir.path()), ["transcript"]);
    }

    #[test]
    fn a_helper_that_is_gone_or_does_not_answer_is_told_of() {
        let (channel, theirs) = pair().unwrap();
        let cleanup = Cleanup { channel, owner: 0 };
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, "cleanup helper: it does not answer");
        // The answer that comes too late is none to the next question.
        send(&theirs, b"late", None).unwrap();
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, "cleanup helper: it does not answer");
        drop(theirs);
        let why = cleanup.open_transcript().unwrap_err().to_string();
        assert_eq!(why, "cleanup helper: Broken pipe");
    }
}
