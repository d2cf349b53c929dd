//! The process that does with a user's rights what cannot be taken back: it runs commands, that of `--mda` and those of
//! aliases and of `~/.forward`, and appends to files. A
//! command has the letter over its standard input, and says by its exit code what has become of it.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use forknet::reason;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use crate::delivery::command_line::{SHELL, arguments, check};
use crate::delivery::order::{Attempt, Command, Place, Tried};
use crate::delivery::store::{Failure, sender_at};
use crate::delivery::text::Text;
use crate::delivery::trace::{delivered_to, return_path};
use crate::delivery::{append, forward};
use crate::options::Config;
use crate::protocol::question::Verdict;

/// Longest time that a command may take. The client waits ten minutes (RFC 5321 §4.5.3.2.6).
const LIMIT: Duration = Duration::from_secs(100);
/// Longest wait between two looks at a command that has closed its output.
const LOOK: Duration = Duration::from_millis(20);
/// Most bytes of a command's output in the log.
const MAX_OUTPUT: usize = 200;
/// Bytes of the letter that are written at once.
const CHUNK: usize = 64 * 1024;
/// Where commands without a path are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What takes a letter.
enum Final {
    Command(Command),
    File(PathBuf),
}

/// The commands and files of one user.
pub struct Programs<'a> {
    /// The client, for the log.
    about: &'a str,
    config: &'a Config,
    uid: u32,
    tried: Vec<(Final, Option<String>)>,
    /// The letter, for these of them.
    letter: Option<(Vec<usize>, Vec<u8>, Text)>,
}

impl<'a> Programs<'a> {
    /// Begins with none. This process has the user's rights already.
    #[must_use]
    pub fn new(config: &'a Config, uid: u32, about: &'a str) -> Programs<'a> {
        umask(Mode::S_IRWXG | Mode::S_IRWXO);
        Programs { about, config, uid, tried: Vec::new(), letter: None }
    }

    /// Tries a file; notes a command, and looks whether its program can be run.
    pub fn attempt(&mut self, attempt: &Attempt) -> Tried {
        let (home, name, may_forward) = match &attempt.place {
            Place::Mailbox { name, home, may_forward } => (home, &name[..], *may_forward),
            Place::Program(it) => (&it.home, &it.name[..], it.may_forward),
            Place::File(path) => (path, &b""[..], false),
            Place::Terminal { .. } => return Tried::Verdict(Verdict::Unusable),
        };
        let failed = |why: &str| {
            log::warn!("{}: mailbox of '{}': {why}", self.about, name.escape_ascii());
        };
        if may_forward {
            match forward::read(home, self.uid) {
                Ok(Some(text)) => return Tried::Forward(text),
                Ok(None) => {}
                Err(why) => {
                    failed(&why);
                    return Tried::Verdict(Verdict::Unusable);
                }
            }
        }
        let found = match &attempt.place {
            Place::Program(command) => check(command).map(|()| Final::Command(command.clone())),
            Place::File(path) => self.file(path.clone(), attempt.size),
            Place::Mailbox { .. } => match self.config.mail.mail.path(name, home) {
                Ok(path) => self.file(path, attempt.size),
                Err(error) => Err(error.into()),
            },
            Place::Terminal { .. } => return Tried::Verdict(Verdict::Unusable),
        };
        match found {
            Ok(found) => {
                self.tried.push((found, attempt.sender.clone()));
                Tried::Verdict(Verdict::Accepted)
            }
            Err(Failure { verdict, why }) => {
                failed(&why);
                Tried::Verdict(verdict)
            }
        }
    }

    fn file(&self, path: PathBuf, size: u64) -> Result<Final, Failure> {
        append::check(&path, self.uid, size.saturating_add(self.config.min_free))?;
        Ok(Final::File(path))
    }

    /// Keeps a letter for these commands. They run at [`Programs::publish`], because what they do cannot be taken back.
    pub fn write(&mut self, places: &[usize], sender: &[u8], text: Text) -> Vec<Verdict> {
        self.letter = Some((places.to_vec(), sender.to_vec(), text));
        vec![Verdict::Accepted; places.len()]
    }

    /// Runs the commands, one after the other, and returns a verdict for each.
    pub fn publish(&mut self, letter: &str) -> Vec<Verdict> {
        let Some((places, sender, text)) = self.letter.take() else { return Vec::new() };
        let until = Instant::now() + LIMIT;
        let run = |number: &usize| match self.tried.get(*number) {
            Some((Final::Command(command), at_place)) => {
                let sender = sender_at(at_place.as_deref(), &sender);
                run(letter, command, sender, &text, until)
            }
            Some((Final::File(path), at_place)) => {
                let sender = sender_at(at_place.as_deref(), &sender);
                match append::append(path, sender, &text) {
                    Ok(()) => Verdict::Accepted,
                    Err(Failure { verdict, why }) => {
                        log::warn!("{letter}: {why}");
                        verdict
                    }
                }
            }
            None => Verdict::Unusable,
        };
        places.iter().map(run).collect()
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.tried.clear();
        self.letter = None;
    }
}

/// Runs a command, and logs what it says where it fails.
fn run(letter: &str, command: &Command, sender: &[u8], text: &Text, until: Instant) -> Verdict {
    let shown = command.text.escape_ascii();
    let trace = [return_path(sender), delivered_to(&command.recipient)].concat();
    let (verdict, why) = match start(command, sender) {
        Ok(Err(Failure { verdict, why })) => (verdict, why),
        Ok(Ok(child)) => match attend(child, &trace, text, until) {
            Ok((status, output)) => {
                let verdict = of_exit_code(status.code());
                let said = output.trim_ascii().escape_ascii().to_string();
                (
                    verdict,
                    if said.is_empty() { status.to_string() } else { format!("{status}: {said}") },
                )
            }
            Err(error) => (Verdict::Unusable, reason(&error)),
        },
        Err(error) => (Verdict::Unusable, reason(&error)),
    };
    if verdict != Verdict::Accepted {
        log::warn!("{letter}: command '{shown}': {why}");
    }
    verdict
}

fn start(command: &Command, sender: &[u8]) -> io::Result<Result<Child, Failure>> {
    let arguments = match arguments(command, sender) {
        Ok(arguments) => arguments,
        Err(failure) => return Ok(Err(failure)),
    };
    let (program, rest) = arguments.split_first().ok_or(ErrorKind::InvalidInput)?;
    let os = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let mut child = std::process::Command::new(os(program));
    child.args(rest.iter().map(|it| os(it))).env_clear();
    let home = if command.home.is_absolute() { &command.home } else { Path::new("/") };
    for (name, value) in [
        ("PATH", PATH.as_bytes()),
        ("HOME", home.as_os_str().as_bytes()),
        ("SHELL", SHELL.as_bytes()),
        ("USER", &command.name),
        ("LOGNAME", &command.name),
        ("SENDER", sender),
        ("RECIPIENT", &command.recipient),
        ("EXTENSION", &command.extension),
    ] {
        child.env(name, OsStr::from_bytes(value));
    }
    let folder = if home.is_dir() { home } else { Path::new("/") };
    child.current_dir(folder).process_group(0);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    child.spawn().map(Ok)
}

/// Returns what an exit code says, as sysexits.h has it. A signal and what is no code of its own are temporary.
fn of_exit_code(code: Option<i32>) -> Verdict {
    match code {
        Some(0) => Verdict::Accepted,
        Some(67) => Verdict::Unknown, // EX_NOUSER
        Some(64..=66 | 68..=70 | 72 | 73 | 76..=78 | 100) => Verdict::Rejected, // 100: qmail's
        _ => Verdict::Unusable, // 71 EX_OSERR, 74 EX_IOERR, 75 EX_TEMPFAIL; 126, 127: sh cannot run it
    }
}

/// Gives a command the letter, after our own lines, and waits for its end; returns its status and the begin of its output.
///
/// # Errors
/// `TimedOut`: it was killed, with the processes of its group.
fn attend(
    mut child: Child,
    trace: &[u8],
    text: &Text,
    until: Instant,
) -> io::Result<(ExitStatus, Vec<u8>)> {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
    let done = talk(&mut child, trace, text, until).and_then(|output| {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status, output));
            }
            if Instant::now() >= until {
                return Err(ErrorKind::TimedOut.into());
            }
            std::thread::sleep(LOOK);
        }
    });
    if done.is_err() {
        let _ = killpg(group, Signal::SIGKILL); // ESRCH: it has ended
        child.wait()?;
    }
    done
}

/// Writes the letter to a command and reads its output, up to the end of that.
fn talk(child: &mut Child, trace: &[u8], text: &Text, until: Instant) -> io::Result<Vec<u8>> {
    let mut output = Output { from: child.stdout.take(), kept: Vec::new() };
    let input = child.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
    unblocked(&input)?;
    let mut pipe = Pipe { to: input, output: &mut output, until };
    match text.copy_behind(trace, &mut pipe) {
        // A command need not read all of it.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        copied => copied?,
    }
    drop(pipe);
    while output.from.is_some() && child.try_wait()?.is_none() {
        output.wait(None, until.min(Instant::now() + LOOK))?;
        if Instant::now() >= until {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    Ok(output.kept)
}

fn unblocked(fd: impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// The standard output of a command, of which the begin is kept.
struct Output {
    from: Option<std::process::ChildStdout>,
    kept: Vec<u8>,
}

impl Output {
    /// Waits until `input` can be written, there is output, or `until`.
    fn wait(&mut self, input: Option<&std::process::ChildStdin>, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let left =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut fds = Vec::new();
        fds.extend(self.from.as_ref().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        fds.extend(input.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLOUT)));
        poll(&mut fds, left)?;
        let has_output = self.from.is_some()
            && fds.first().and_then(PollFd::revents).is_some_and(|it| !it.is_empty());
        drop(fds);
        if has_output && let Some(from) = &mut self.from {
            let mut piece = [0; CHUNK];
            let count = from.read(&mut piece)?;
            let room = MAX_OUTPUT.saturating_sub(self.kept.len()).min(count);
            self.kept.extend_from_slice(piece.get(..room).unwrap_or_default());
            if count == 0 {
                self.from = None;
            }
        }
        Ok(())
    }
}

/// Writes to a command, and reads its output meanwhile, so that neither waits for the other.
struct Pipe<'a> {
    to: std::process::ChildStdin,
    output: &'a mut Output,
    until: Instant,
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes.get(..CHUNK).unwrap_or(bytes)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= self.until {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    self.output.wait(Some(&self.to), self.until)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::command_line::tests::command;

    fn run_one(text: &str, letter: &[u8], limit: Duration) -> (Verdict, Duration) {
        let begin = Instant::now();
        let letter = Text::Memory(letter.to_vec());
        let verdict = run("letter 1", &command(text, true), b"a@b.test", &letter, begin + limit);
        (verdict, begin.elapsed())
    }

    #[test]
    fn the_exit_code_says_what_has_become_of_the_letter() {
        let minute = Duration::from_secs(60);
        for (text, verdict) in [
            ("cat >/dev/null", Verdict::Accepted),
            ("true", Verdict::Accepted), // it reads nothing
            ("exec <&-; sleep 0.1; exit 0", Verdict::Accepted),
            ("yes | head -c 1000000; exit 0", Verdict::Accepted),
            ("cat", Verdict::Accepted),
            ("exit 75", Verdict::Unusable),
            ("exit 1", Verdict::Unusable),
            ("exit 67", Verdict::Unknown),
            ("exit 77", Verdict::Rejected),
            ("exit 100", Verdict::Rejected),
            ("no-such-command-here", Verdict::Unusable),
            ("kill -9 $$", Verdict::Unusable),
            ("test \"$SENDER$USER$HOME\" = a@b.testlevy/h/levy", Verdict::Accepted),
            ("test \"$(head -n 1)\" = 'Return-Path: <a@b.test>'", Verdict::Accepted),
        ] {
            assert_eq!(run_one(text, b"x\n", minute).0, verdict, "{text}");
            assert_eq!(run_one(text, &[b'x'; 1_000_000], minute).0, verdict, "{text}");
        }
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_processes() {
        for text in ["sleep 1000", "sleep 1000 & exec >&-; wait", "sleep 1000 | cat"] {
            for letter in [&b"x\n"[..], &[b'x'; 1_000_000]] {
                let (verdict, took) = run_one(text, letter, Duration::from_millis(200));
                assert_eq!(verdict, Verdict::Unusable, "{text}");
                assert!(took < Duration::from_secs(500), "{text}");
            }
        }
    }
}
