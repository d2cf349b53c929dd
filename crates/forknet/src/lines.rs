//! The lines of the log on their way to standard error.
//!
//! A line is written with one write(2). A parent that forks for every client has two or more each
//! time it wakes up: it collects them, and writes them together before it waits again.
//!
//! They are made in the ledger, beside what else the parent writes to for each client: after a fork
//! every page that either side writes to is copied first, which costs more than the line.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::io;
use std::os::fd::AsFd;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

use crate::ledger::{self, ledger};
use crate::logging::PATIENCE;

/// So much is kept at most, and longer lines are cut. It is less than PIPE_BUF: what poll(2) calls
/// writable takes it without blocking.
const ROOM: usize = 2560;
/// At the end of a line that was cut.
const CUT: [u8; 4] = *b"...\n";

/// Standard error for a server that must not stand still because nobody reads its log: when there
/// is no room for a line in time it is lost, and so are, at once, those that follow until there is.
pub(crate) struct Lines {
    length: usize,
    collects: bool,
    /// It is a regular file, which no reader can keep from taking more.
    never_full: bool,
    is_stuck: bool,
    octets: [u8; ROOM],
}

thread_local! {
    /// This child has logged something. Most never do, and need no copy of that page.
    static HAS_LOGGED: Cell<bool> = const { Cell::new(false) };
}

fn lines() -> MutexGuard<'static, Lines> {
    HAS_LOGGED.set(true);
    ledger().lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that has not logged has no lines that wait.
fn has_none() -> bool {
    ledger::is_childs() && !HAS_LOGGED.get()
}

/// Looks what standard error is.
pub(crate) fn start() {
    let is_file = |mode| mode & libc::S_IFMT == libc::S_IFREG;
    lines().never_full = fstat(io::stderr()).is_ok_and(|stat| is_file(stat.st_mode));
}

/// Writes a line, or keeps it until [`write_out`]. It must end in LF.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    lines().line(text);
}

/// Lines are kept until [`write_out`], as long as this lives.
#[derive(Debug)]
pub(crate) struct Collecting(());

/// From now on lines wait for [`write_out`]; whoever is about to wait must call it.
pub(crate) fn collect() -> Collecting {
    lines().collects = true;
    Collecting(())
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let mut lines = lines();
        lines.collects = false;
        lines.write_out();
    }
}

/// True when there are lines to be written before a wait.
pub(crate) fn are_kept() -> bool {
    !has_none() && lines().length > 0
}

/// Writes the lines that were kept.
pub(crate) fn write_out() {
    if !has_none() {
        lines().write_out();
    }
}

/// For a child just forked: what was kept is its parent's to write, and its own lines are written
/// at once.
pub(crate) fn of_a_child() {
    ledger::of_a_child();
    HAS_LOGGED.set(false);
}

impl Lines {
    /// No line yet.
    pub(crate) const fn none() -> Lines {
        let octets = [0; ROOM];
        Lines { length: 0, collects: false, never_full: false, is_stuck: false, octets }
    }

    /// The same without lines.
    pub(crate) fn anew(&self) -> Lines {
        Lines { never_full: self.never_full, ..Lines::none() }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        let before = self.length;
        if self.write_fmt(text).is_err() {
            self.length = before; // no room: first those that are there already
            self.write_out();
            if self.write_fmt(text).is_err() {
                self.cut();
            }
        }
        if !self.collects {
            self.write_out();
        }
    }

    fn cut(&mut self) {
        self.length = ROOM;
        if let Some(end) = self.octets.last_chunk_mut() {
            *end = CUT;
        }
    }

    fn write_out(&mut self) {
        let length = std::mem::take(&mut self.length);
        if length == 0 || !self.has_room() {
            return;
        }
        let mut rest = self.octets.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match nix::unistd::write(io::stderr(), rest) {
                Ok(written @ 1..) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                _ => return, // an error would have to be told to whoever reads the log
            }
        }
    }

    fn has_room(&mut self) -> bool {
        if self.never_full {
            return true;
        }
        let patience = if self.is_stuck { Duration::ZERO } else { PATIENCE };
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        let ready = poll(&mut [PollFd::new(io::stderr().as_fd(), PollFlags::POLLOUT)], patience);
        self.is_stuck = ready == Ok(0);
        !self.is_stuck
    }
}

impl Write for Lines {
    /// An error says that not all of it had room.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.octets.get_mut(self.length..).unwrap_or_default();
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
        let mut lines = Lines { collects: true, ..Lines::none() };
        lines.line(format_args!("{}\n", "x".repeat(ROOM)));
        assert_eq!(lines.length, ROOM);
        assert!(lines.octets.ends_with(b"x...\n"));
    }
}
