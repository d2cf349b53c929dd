//! syslog(3) without the C library: one datagram per line to /dev/log, in the format of RFC 3164
//! and glibc.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use log::Level;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;

use super::stderr::LONGEST_WAIT;
use crate::error::reason;
use crate::text::printable;

/// Where syslogd listens.
pub(crate) const SOCKET: &str = "/dev/log";
/// Longest line in bytes; the rest is cut (RFC 3164 §4.1).
const MAX_DATAGRAM: usize = 1024;
/// The end of a line that was cut.
const CUT: &str = "...";
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The facility by which syslogd sorts a program's lines (RFC 3164 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// The mail system.
    Mail = 2,
    /// A daemon of any other kind.
    Daemon = 3,
}

impl Facility {
    /// Returns the name in syslog.conf(5).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Facility::Mail => "mail",
            Facility::Daemon => "daemon",
        }
    }
}

/// Returns the severity of RFC 3164 §4.1.1: err, warning, info, debug.
fn severity(level: Level) -> usize {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Formats a line as `<22>Jan 15 09:05:07 pop3d[4242]: listening on *:110`, cut where that is too
/// long.
pub(crate) fn line(
    facility: Facility,
    level: Level,
    name: &str,
    pid: u32,
    text: &Arguments<'_>,
) -> String {
    let priority = (facility as usize) << 3 | severity(level);
    let mut line = format!("<{priority}>{} {name}[{pid}]: ", timestamp(SystemTime::now()));
    line.push_str(&printable(text.to_string().as_bytes()));
    cut(&mut line);
    line
}

fn cut(line: &mut String) {
    if line.len() > MAX_DATAGRAM {
        let end = (0..=MAX_DATAGRAM - CUT.len()).rev().find(|at| line.is_char_boundary(*at));
        line.truncate(end.unwrap_or_default());
        line.push_str(CUT);
    }
}

/// Formats a local time as `Jan 15 09:05:07`. The first call reads the time zone, which chroot(2)
/// would hide.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let at = sys::localtime::local(at);
    let month = MONTHS.get(at.month).unwrap_or(&"Jan");
    format!("{month} {:2} {:02}:{:02}:{:02}", at.day, at.hour, at.minute, at.second)
}

/// The socket to syslogd. A line that syslogd does not take in time is dropped, as on standard
/// error, and later lines are dropped immediately until it takes one again. The socket stays open
/// through a chroot(2); after a restart of syslogd it is connected again, at the same path.
#[derive(Debug)]
pub(crate) struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    is_stuck: bool,
    /// Why the last line was not sent, until [`Syslog::complaint`] returns it.
    failure: Option<io::Error>,
}

impl Syslog {
    pub(crate) const fn new(path: PathBuf) -> Syslog {
        Syslog { path, socket: None, is_stuck: false, failure: None }
    }

    /// Connects to syslogd, unless it is connected.
    pub(crate) fn connect(&mut self) {
        if self.socket.is_none() {
            match connected(&self.path) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    /// Returns `syslog /dev/log: No such file or directory`, once.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        let why = reason(&self.failure.take()?);
        Some(format!("syslog {}: {why}: nothing is logged until it works", self.path.display()))
    }

    fn deliver(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match send(socket, line, &mut self.is_stuck) {
                // This syslogd has ended, but another one may have started.
                Err(e) if is_gone(&e) => self.socket = None,
                sent => return sent,
            }
        }
        let socket = connected(&self.path)?;
        send(self.socket.insert(socket), line, &mut self.is_stuck)
    }
}

impl Write for Syslog {
    /// Sends a line in a datagram. It never fails, because a failure could not be logged.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.failure = self.deliver(line).err();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn is_gone(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotConnected | BrokenPipe)
}

/// Sends a line. Waits for room once, and not again until there is room. Each call has
/// MSG_DONTWAIT, because a child, which has the socket too, could clear O_NONBLOCK.
fn send(socket: &UnixDatagram, line: &[u8], is_stuck: &mut bool) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let until = Instant::now() + LONGEST_WAIT;
    loop {
        match nix::sys::socket::send(socket.as_raw_fd(), line, flags) {
            Err(Errno::EAGAIN) => {}
            Err(Errno::EINTR) => continue,
            sent => {
                *is_stuck = false;
                return Ok(sent.map(drop)?);
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if *is_stuck || left.is_zero() {
            *is_stuck = true;
            return Ok(()); // dropped
        }
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let _interrupted = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{TempDir, uninterrupted, within_once};

    fn received(syslogd: &UnixDatagram) -> String {
        syslogd.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        let mut buffer = [0; 2048];
        let n = uninterrupted(|| syslogd.recv(&mut buffer)).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn a_line_has_the_format_of_rfc_3164() {
        let text =
            |level, text: &str| line(Facility::Mail, level, "pop3d", 42, &format_args!("{text}"));
        for (level, priority) in [
            (Level::Error, "<19>"),
            (Level::Warn, "<20>"),
            (Level::Info, "<22>"),
            (Level::Debug, "<23>"),
        ] {
            assert!(text(level, "x").starts_with(priority));
        }
        let line = text(Level::Info, "two\nlines\x07");
        let (stamp, rest) = line.strip_prefix("<22>").unwrap().split_at(15);
        assert_eq!(rest, " pop3d[42]: two\\nlines\\u{7}");
        let (month, day) = (&stamp[..3], stamp[4..6].trim_start());
        assert!(MONTHS.contains(&month) && (1..=31).contains(&day.parse::<u32>().unwrap()));
        assert_eq!((&stamp[3..4], &stamp[6..7], &stamp[9..10]), (" ", " ", ":"));
        assert_eq!(
            super::line(Facility::Daemon, Level::Info, "e", 1, &format_args!("")).get(..4),
            Some("<30>")
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        for letters in 500..520 {
            let mut line = "\u{e9}".repeat(letters);
            if letters % 2 == 1 {
                line.insert(0, 'x');
            }
            let was = line.len();
            cut(&mut line);
            assert_eq!(line.len() < was, was > MAX_DATAGRAM);
            assert!(line.len() <= MAX_DATAGRAM && line.ends_with(CUT) == (was > MAX_DATAGRAM));
        }
    }

    #[test]
    fn a_syslogd_that_starts_late_or_restarts_is_found() {
        let dir = TempDir::new();
        let path = dir.path().join("log");
        let mut syslog = Syslog::new(path.clone());
        syslog.connect();
        let complaint = syslog.complaint().unwrap();
        assert!(complaint.starts_with(&format!("syslog {}: No such file", path.display())));
        syslog.write_all(b"lost").unwrap();
        let first = UnixDatagram::bind(&path).unwrap();
        syslog.write_all(b"one").unwrap();
        assert_eq!(received(&first), "one");
        drop(first);
        syslog.write_all(b"lost").unwrap(); // the file exists, but no process listens
        assert!(syslog.complaint().unwrap().contains("Connection refused"));
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        syslog.write_all(b"two").unwrap();
        assert_eq!(received(&second), "two");
        assert!(syslog.complaint().is_none());
    }

    #[test]
    fn a_stuck_syslogd_is_waited_for_once() {
        within_once(4 * LONGEST_WAIT, || {
            let dir = TempDir::new();
            let path = dir.path().join("log");
            let syslogd = UnixDatagram::bind(&path).unwrap();
            let mut syslog = Syslog::new(path);
            syslog.connect();
            let ours = syslog.socket.as_ref().unwrap();
            ours.set_nonblocking(false).unwrap(); // as a child may have done
            let begin = Instant::now();
            for _ in 0..2000 {
                syslog.write_all(b"not read").unwrap();
            }
            let took = begin.elapsed();
            assert!(took >= LONGEST_WAIT, "{took:?}");
            syslogd.set_nonblocking(true).unwrap();
            while syslogd.recv(&mut [0; 64]).is_ok() {}
            syslog.write_all(b"again").unwrap();
            assert_eq!(received(&syslogd), "again");
            took
        });
    }
}
