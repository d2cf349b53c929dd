//! The buffer of the log's lines on their way to standard error.
//!
//! A line is written with one write(2). A parent that forks for every client has two or more each
//! time it wakes up: it collects them, and writes them together before it waits again. What it has
//! collected lies in memory that no child has.

use std::fmt::{self, Write};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sys::fd::is_regular_file;
use sys::private_memory::Private;

use crate::error::{Error, Result};

/// Longest wait of a line for room: for a pipe that is full, a terminal that was stopped, or a syslogd
/// that stands still.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Bytes that are kept; longer lines are cut. It is less than PIPE_BUF: what poll(2) calls writable
/// takes it without blocking.
const CAPACITY: usize = 2560;
/// At the end of a line that was cut.
const CUT: [u8; 4] = *b"...\n";

/// Standard error for a server that must not stand still because its log is not read: when there
/// is no room for a line in time it is lost, and so are, at once, those that follow until there is.
struct Buffer {
    length: usize,
    collects: bool,
    is_stuck: bool,
    bytes: [u8; CAPACITY],
}

/// The buffer of a server, which its children do not have.
static PRIVATE: OnceLock<Private<Mutex<Buffer>>> = OnceLock::new();
/// The buffer of every other process.
static ORDINARY: Mutex<Buffer> = Mutex::new(Buffer::new());
/// Standard error is a regular file, which takes more at any time.
static IS_FILE: AtomicBool = AtomicBool::new(false);

/// Lines may lie in [`ORDINARY`]. Where none do its lock is left alone: to take it is to write to a page
/// that the child of a client would then need a copy of.
static ORDINARY_COLLECTS: AtomicBool = AtomicBool::new(false);

/// Calls `look` with this process's buffer.
fn buffer<T>(look: impl Fn(&mut Buffer) -> T) -> T {
    private(&look).unwrap_or_else(|| look(&mut lock(&ORDINARY)))
}

/// As [`buffer`]; `None` where no line can lie in it.
fn collected<T>(look: impl Fn(&mut Buffer) -> T) -> Option<T> {
    let ordinary = || ORDINARY_COLLECTS.load(Relaxed).then(|| look(&mut lock(&ORDINARY)));
    private(&look).or_else(ordinary)
}

/// Calls `look` with [`PRIVATE`], in the process that has it.
fn private<T>(look: impl Fn(&mut Buffer) -> T) -> Option<T> {
    PRIVATE.get()?.with(|buffer| look(&mut lock(buffer)))
}

fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks what standard error is.
pub(crate) fn start() {
    IS_FILE.store(is_regular_file(io::stderr()), Relaxed);
}

/// From now on this process's lines lie in memory that its children do not have.
///
/// # Errors
/// ENOMEM.
pub(crate) fn keep_private() -> Result<()> {
    if PRIVATE.get().is_none() {
        flush();
        let private = Private::new(Mutex::new(Buffer::new()));
        let private = private.map_err(Error::os("mmap of private memory"))?;
        PRIVATE.get_or_init(|| private);
    }
    Ok(())
}

/// Writes a line, or keeps it until [`flush`]. It must end in LF.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    buffer(|buffer| buffer.line(text));
}

/// Lines are kept until [`flush`], as long as this lives.
#[derive(Debug)]
pub(crate) struct Collecting(());

/// From now on lines wait for [`flush`], which must be called before every wait.
pub(crate) fn collect() -> Collecting {
    if private(|buffer| buffer.collects = true).is_none() {
        lock(&ORDINARY).collects = true;
        ORDINARY_COLLECTS.store(true, Relaxed);
    }
    Collecting(())
}

impl Drop for Collecting {
    fn drop(&mut self) {
        buffer(|buffer| {
            buffer.collects = false;
            buffer.flush();
        });
    }
}

/// Returns true when there are lines to be written before a wait.
pub(crate) fn has_pending() -> bool {
    collected(|buffer| buffer.length > 0) == Some(true)
}

/// Writes the lines that were kept.
pub(crate) fn flush() {
    let _ = collected(Buffer::flush); // none where no line waits
}

impl Buffer {
    const fn new() -> Buffer {
        Buffer { length: 0, collects: false, is_stuck: false, bytes: [0; CAPACITY] }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        let before = self.length;
        if self.write_fmt(text).is_err() {
            self.length = before; // no room: first those that are there already
            self.flush();
            if self.write_fmt(text).is_err() {
                self.cut();
            }
        }
        if !self.collects {
            self.flush();
        }
    }

    fn cut(&mut self) {
        self.length = CAPACITY;
        if let Some(end) = self.bytes.last_chunk_mut() {
            *end = CUT;
        }
    }

    fn flush(&mut self) {
        if self.length == 0 {
            return;
        }
        let length = std::mem::take(&mut self.length);
        if !self.has_room() {
            return;
        }
        let mut rest = self.bytes.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match nix::unistd::write(io::stderr(), rest) {
                Ok(written @ 1..) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                _ => return, // an error would have to be told in the log
            }
        }
    }

    fn has_room(&mut self) -> bool {
        if IS_FILE.load(Relaxed) {
            return true;
        }
        let wait = if self.is_stuck { Duration::ZERO } else { LONGEST_WAIT };
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        let ready = poll(&mut [PollFd::new(io::stderr().as_fd(), PollFlags::POLLOUT)], wait);
        self.is_stuck = ready == Ok(0);
        !self.is_stuck
    }
}

impl Write for Buffer {
    /// An error says that not all of it had room.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let length = room.len().min(text.len());
        if let (Some(room), Some(text)) = (room.get_mut(..length), text.as_bytes().get(..length)) {
            room.copy_from_slice(text);
        }
        self.length += length;
        if length == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// A time as `2026-01-31T12:00:00.000Z`.
pub(crate) struct Utc(pub(crate) SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, millis) = (second / 3600, second / 60 % 60, since.subsec_millis());
        let second = second % 60;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of a day since 1970-01-01. Years begin with March here, so that the day of a
/// leap year is the last one; 400 of them have 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    /// Days from 0000-03-01 to 1970-01-01.
    const FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; //     months from March on have 153 days in every five
    let day = day - (153 * month + 2) / 5 + 1;
    let year = 400 * era + year + u64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> String {
        Utc(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)).to_string()
    }

    #[test]
    fn times_are_those_of_date_1() {
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
    }

    #[test]
    fn every_day_of_four_centuries_has_a_date_of_its_own_and_they_follow_each_other() {
        let mut before = date(0);
        for days in 1..146_097 {
            let (year, month, day) = date(days);
            let follows = (year, month, day) == (before.0, before.1, before.2 + 1)
                || (year, month, day) == (before.0, before.1 + 1, 1) && before.2 >= 28
                || (year, month, day) == (before.0 + 1, 1, 1) && before.1 == 12 && before.2 == 31;
            assert!(follows, "{before:?} and then {:?}", (year, month, day));
            before = (year, month, day);
        }
        assert_eq!(before, (2369, 12, 31));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_ends_as_a_line() {
        let mut buffer = Buffer { collects: true, ..Buffer::new() };
        buffer.line(format_args!("{}\n", "x".repeat(CAPACITY)));
        assert_eq!(buffer.length, CAPACITY);
        assert!(buffer.bytes.ends_with(b"x...\n"));
    }
}
