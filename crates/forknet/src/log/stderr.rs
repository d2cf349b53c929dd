//! The buffer of log lines for standard error.
//!
//! A line is written with one write(2). A parent that forks for every client has two or more lines
//! each time it wakes up. It collects them in memory that no child inherits, and writes them
//! together before it waits again.

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

/// Longest wait of a line for room, when a pipe is full, a terminal stopped, or syslogd stuck.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Capacity in bytes; longer lines are cut. Less than PIPE_BUF, so that what poll(2) calls writable
/// takes it without blocking.
const CAPACITY: usize = 2560;
/// The end of a line that was cut.
const CUT: [u8; 4] = *b"...\n";

/// Buffers lines for standard error. A log that is not read must not stop the server, so a line
/// without room in time is dropped, and later lines are dropped immediately until there is room.
struct Buffer {
    length: usize,
    collects: bool,
    is_stuck: bool,
    bytes: [u8; CAPACITY],
}

/// The buffer of a server, which its children do not inherit.
static PRIVATE: OnceLock<Private<Mutex<Buffer>>> = OnceLock::new();
/// The buffer of every other process.
static ORDINARY: Mutex<Buffer> = Mutex::new(Buffer::new());
/// Standard error is a regular file, which always has room.
static IS_FILE: AtomicBool = AtomicBool::new(false);

/// Lines may be in [`ORDINARY`]. Otherwise its lock is not taken, because that writes to a page,
/// which the fork of a client would copy.
static ORDINARY_COLLECTS: AtomicBool = AtomicBool::new(false);

/// Calls `call` with this process's buffer.
fn buffer<T>(call: impl Fn(&mut Buffer) -> T) -> T {
    private(&call).unwrap_or_else(|| call(&mut lock(&ORDINARY)))
}

/// As [`buffer`]; `None` where no line can be in it.
fn collected<T>(call: impl Fn(&mut Buffer) -> T) -> Option<T> {
    let ordinary = || ORDINARY_COLLECTS.load(Relaxed).then(|| call(&mut lock(&ORDINARY)));
    private(&call).or_else(ordinary)
}

/// Calls `call` with [`PRIVATE`], in the process that has it.
fn private<T>(call: impl Fn(&mut Buffer) -> T) -> Option<T> {
    PRIVATE.get()?.with(|buffer| call(&mut lock(buffer)))
}

fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks what standard error is.
pub(crate) fn start() {
    IS_FILE.store(is_regular_file(io::stderr()), Relaxed);
}

/// Keeps this process's lines in memory that its children do not inherit.
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

/// Writes a line, which must end in LF, or keeps it until [`flush`].
pub(crate) fn line(text: fmt::Arguments<'_>) {
    buffer(|buffer| buffer.line(text));
}

/// While this exists, lines are kept until [`flush`].
#[derive(Debug)]
pub(crate) struct Collecting(());

/// Starts to keep lines until [`flush`], which must be called before every wait.
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

/// Returns true when lines wait for [`flush`].
pub(crate) fn has_pending() -> bool {
    collected(|buffer| buffer.length > 0) == Some(true)
}

/// Writes the kept lines.
pub(crate) fn flush() {
    let _ = collected(Buffer::flush); // None: no line waits
}

impl Buffer {
    const fn new() -> Buffer {
        Buffer { length: 0, collects: false, is_stuck: false, bytes: [0; CAPACITY] }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        let before = self.length;
        if self.write_fmt(text).is_err() {
            self.length = before; // no room: first flush the older lines
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
        if self.has_room() {
            self.write(length);
        }
        // A line names its client, and the next one is served by the same process.
        self.bytes.get_mut(..length).unwrap_or_default().fill(0);
    }

    fn write(&self, length: usize) {
        let mut rest = self.bytes.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match nix::unistd::write(io::stderr(), rest) {
                Ok(written @ 1..) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                _ => return, // an error could only go into the log
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
    /// Fails when not all of the text has room.
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

/// Formats a time as `2026-01-31T12:00:00.000Z`.
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

/// Returns year, month and day of a day since 1970-01-01. Years begin with March here, so that the
/// leap day is the last one; 400 years have 146,097 days.
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
    fn times_are_formatted_as_date_1_does() {
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
    }

    #[test]
    fn the_dates_of_four_centuries_are_consecutive() {
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
    fn a_line_that_is_too_long_is_cut_and_ends_in_lf() {
        let mut buffer = Buffer { collects: true, ..Buffer::new() };
        buffer.line(format_args!("{}\n", "x".repeat(CAPACITY)));
        assert_eq!(buffer.length, CAPACITY);
        assert!(buffer.bytes.ends_with(b"x...\n"));
    }
}
