//! The terminals of users, to which SEND, SOML and SAML write (RFC 821 §3.4): found and opened with the user's own
//! rights.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forknet::reason;
use nix::fcntl::{OFlag, openat};
use nix::libc::{ELOOP, O_APPEND, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::delivery::utmp;
use crate::options::terminal::Terminals;
use crate::protocol::address::is_mark;

/// The file of utmp(5).
const UTMP: &str = "/var/run/utmp";
/// The permission that mesg(1) gives and takes away.
const MESSAGES: u32 = 0o020;
/// The permissions of others than its owner to put something into a folder.
const OTHERS_WRITE: u32 = 0o022;
/// How a terminal is opened.
const FLAGS: i32 = O_APPEND | O_NONBLOCK | O_NOCTTY;
/// Longest letter for a terminal, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Longest time that a terminal may take to show it.
const LIMIT: Duration = Duration::from_secs(20);

/// A terminal that takes messages now.
#[derive(Debug)]
pub struct Terminal {
    file: File,
}

impl Terminal {
    /// Opens the terminal of a user.
    ///
    /// # Errors
    /// The user has none that takes messages now, and why, for the log.
    pub fn open(terminals: &Terminals, user: &[u8]) -> Result<Terminal, String> {
        let terminal = match terminals {
            Terminals::Utmp => logged_in(Path::new(UTMP), Path::new("/dev"), user),
            Terminals::Folder(folder) => in_folder(folder, user),
        }?;
        match terminal.is_ready_within(Duration::ZERO) {
            Ok(true) => Ok(terminal),
            Ok(false) => Err("the terminal is stopped".into()),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Opens the terminal of a user where the administrator has put it, for a process that has root's rights and gives
    /// them up afterwards: what the administrator makes need not belong to the user.
    #[must_use]
    pub fn open_for_root(terminals: &Terminals, user: &[u8]) -> Option<Terminal> {
        let Terminals::Folder(folder) = terminals else { return None };
        let terminal = in_folder_of_root(folder, user).filter(|_| geteuid().is_root())?;
        matches!(terminal.is_ready_within(Duration::ZERO), Ok(true)).then_some(terminal)
    }

    /// Writes a message; waits for a terminal that is slow.
    ///
    /// # Errors
    /// `TimedOut` for one that is stopped; those of write(2).
    pub fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let (until, mut rest) = (Instant::now() + LIMIT, message);
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.is_ready_within(until.saturating_duration_since(Instant::now()))? {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_ready_within(&self, wait: Duration) -> io::Result<bool> {
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, wait) {
            Err(nix::errno::Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno.into()),
            Ok(count) => Ok(count > 0),
        }
    }
}

/// Opens the terminal on which a user was active last, of those that take messages.
fn logged_in(utmp: &Path, devices: &Path, user: &[u8]) -> Result<Terminal, String> {
    let mut records = Vec::new();
    let file =
        File::open(utmp).map_err(|error| format!("{}: {}", utmp.display(), reason(&error)))?;
    let read = file.take(utmp::MAX_FILE).read_to_end(&mut records);
    read.map_err(|error| format!("{}: {}", utmp.display(), reason(&error)))?;
    let paths = utmp::lines(&records, user).into_iter().map(|line| devices.join(line));
    let taking = |path: PathBuf| Some((takes_messages(&path)?, path));
    let mut found: Vec<(i64, PathBuf)> = paths.filter_map(taking).collect();
    found.sort();
    let (_, path) = found.pop().ok_or("not logged in, or mesg(1) says no")?;
    let file = open(&path, O_NOFOLLOW).map_err(|error| reason(&error))?;
    if file.is_terminal() { Ok(Terminal { file }) } else { Err("not a terminal".into()) }
}

/// Returns when a terminal was used last, in seconds since 1970, if its owner takes messages.
fn takes_messages(path: &Path) -> Option<i64> {
    let about = fs::symlink_metadata(path).ok()?;
    let takes = about.file_type().is_char_device() && about.mode() & MESSAGES != 0;
    takes.then(|| about.atime())
}

/// Opens `folder/user`: a terminal or a link to one, a pipe that is read, or a file.
fn in_folder(folder: &Path, user: &[u8]) -> Result<Terminal, String> {
    let path = folder.join(OsStr::from_bytes(file_name(user)?));
    let failed = |error: &io::Error| format!("{}: {}", path.display(), reason(error));
    let (file, is_link) = match open(&path, O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(ELOOP) => {
            (open(&path, 0).map_err(|error| failed(&error))?, true)
        }
        opened => (opened.map_err(|error| failed(&error))?, false),
    };
    let about = file.metadata().map_err(|error| failed(&error))?;
    // A link may lead to any file of the user's.
    if file.is_terminal() || !is_link && is_file_of_its_own(&about) {
        return Ok(Terminal { file });
    }
    Err(format!("{}: not a terminal", path.display()))
}

/// Opens `folder/user` with the rights of root, where root alone can put something there, and nothing behind a link.
fn in_folder_of_root(folder: &Path, user: &[u8]) -> Option<Terminal> {
    let flags = O_NOFOLLOW | O_DIRECTORY;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(folder).ok()?;
    let about = folder.metadata().ok()?;
    if about.uid() != 0 || about.mode() & OTHERS_WRITE != 0 {
        return None;
    }
    let flags = OFlag::from_bits_retain(FLAGS | O_NOFOLLOW) | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let name = OsStr::from_bytes(file_name(user).ok()?);
    let file = File::from(openat(&folder, name, flags, Mode::empty()).ok()?);
    let about = file.metadata().ok()?;
    (file.is_terminal() || is_file_of_its_own(&about)).then_some(Terminal { file })
}

/// Returns the name of a user, if a file can have it.
fn file_name(user: &[u8]) -> Result<&[u8], String> {
    let is_name = !user.is_empty() && !user.starts_with(b".") && !user.contains(&b'/');
    if is_name { Ok(user) } else { Err("the name cannot be one of a file".into()) }
}

fn is_file_of_its_own(about: &Metadata) -> bool {
    about.file_type().is_fifo() || about.is_file() && about.nlink() == 1
}

/// Opens for writing at the end; waits for nothing.
fn open(path: &Path, more: i32) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(FLAGS | more).open(path)
}

/// Returns what is shown of a letter: who it is from, and the letter without our trace line. Controls and what turns
/// the direction of writing are question marks, because a terminal would do what they say.
#[must_use]
pub fn message(hostname: &str, sender: &str, letter: &[u8]) -> Vec<u8> {
    let sender = if sender.is_empty() { "<>" } else { sender };
    let text = String::from_utf8_lossy(without_trace(letter));
    let head = format!("\nMessage from {sender} by {hostname}:\n");
    let mut shown = String::with_capacity(head.len() + text.len() + 16);
    for c in head.chars().chain(text.chars()).chain("EOF\n".chars()) {
        match c {
            '\n' => shown.push_str("\r\n"),
            '\t' => shown.push('\t'),
            '\u{fffd}' => shown.push('?'),
            c if c.is_control() || is_mark(c) => shown.push('?'),
            c => shown.push(c),
        }
    }
    shown.into_bytes()
}

/// Returns a letter without its first field, which is our `Received:`.
fn without_trace(letter: &[u8]) -> &[u8] {
    let mut rest = letter;
    if !rest.starts_with(b"Received:") {
        return rest;
    }
    loop {
        let end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1);
        rest = rest.get(end..).unwrap_or_default();
        if !rest.starts_with(b"\t") && !rest.starts_with(b" ") {
            return rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_message_moves_no_cursor_and_hides_nothing() {
        let letter = b"Received: from a\n\tby b;\n\tdate\nSubject: x\n\na\x1b[2Jb\x07\x9b\xc2\x9bc\rd\xff\n\xd0\xb9\xe2\x80\xae\te\xd8\x9c\n";
        let shown = String::from_utf8(message("red.test", "a@b\u{1b}.test", letter)).unwrap();
        assert_eq!(
            shown,
            "\r\nMessage from a@b?.test by red.test:\r\nSubject: x\r\n\r\na?[2Jb???c?d?\r\n\u{439}?\te?\r\nEOF\r\n"
        );
    }

    #[test]
    fn a_folder_names_a_file_a_pipe_or_a_terminal_and_no_link_to_a_file() {
        let dir = testkit::TempDir::new();
        let terminals = Terminals::Folder(dir.path().to_owned());
        dir.file("levy", "before\n");
        Terminal::open(&terminals, b"levy").unwrap().write(b"x\r\n").unwrap();
        let text = fs::read_to_string(dir.path().join("levy")).unwrap();
        assert_eq!(text, "before\nx\r\n");
        symlink("levy", dir.path().join("bob")).unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        dir.file("twice", "");
        fs::hard_link(dir.path().join("twice"), dir.path().join("other")).unwrap();
        for bad in ["bob", "dir", "pipe", "nobody", "..", ".", "", "../levy", "twice"] {
            assert!(Terminal::open(&terminals, bad.as_bytes()).is_err(), "{bad}");
        }
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(dir.path().join("pipe"))
            .unwrap();
        Terminal::open(&terminals, b"pipe").unwrap().write(b"y").unwrap();
        let mut read = [0; 8];
        assert_eq!((&reader).read(&mut read).unwrap(), 1);
        // A pipe that nothing is read from is full in the end.
        let mut terminal = Terminal::open(&terminals, b"pipe").unwrap();
        while terminal.is_ready_within(Duration::ZERO).unwrap() {
            let _ = terminal.file.write(&[b'x'; 4096]).unwrap();
        }
        assert!(Terminal::open(&terminals, b"pipe").is_err());
    }

    #[test]
    fn who_is_not_in_utmp_or_has_said_mesg_n_has_no_terminal() {
        let dir = testkit::TempDir::new();
        let devices = dir.path();
        assert!(logged_in(&devices.join("none"), devices, b"levy").is_err());
        let utmp = dir.file("utmp", "");
        assert!(logged_in(&utmp, devices, b"levy").is_err());
        dir.file("tty1", "no device");
        assert_eq!(takes_messages(&devices.join("tty1")), None);
        assert_eq!(takes_messages(&devices.join("tty2")), None);
    }
}
