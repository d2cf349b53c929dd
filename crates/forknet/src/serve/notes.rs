//! Notes that the processes that answer questions leave for the keeper: all that it takes of them.
//!
//! They are short, and of those processes alone: no process that talks to a client has the way. An answering
//! process sends its note before it answers, so the keeper has read it when it forks for what the same client
//! asks next.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use log::warn;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use sys::scm_rights::pair;

use crate::serve::line::Line;

/// Longest note in bytes.
pub const MAX_NOTE: usize = 64;
/// Most notes that are read in turn, a number, before the keeper does something else.
const MAX_AT_ONCE: usize = 1024;
/// Longest wait for room for a note.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// The way of the notes, in the keeper.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Where the keeper reads.
    end: OwnedFd,
    /// What processes that answer are forked with.
    start: OwnedFd,
}

/// The way of the notes, in a process that answers.
#[derive(Debug)]
pub(crate) struct NotesLine(Line);

impl Notes {
    pub(crate) fn new() -> nix::Result<Notes> {
        let (end, start) = pair()?;
        Ok(Notes { end, start })
    }

    /// Reads the notes that have come. One that is empty or too long is none.
    pub(crate) fn read(&self, noted: &mut impl FnMut(&[u8])) {
        let mut buffer = [0; MAX_NOTE + 1];
        for _ in 0..MAX_AT_ONCE {
            // Without recvmsg(2), so that no descriptor comes with it.
            match recv(self.end.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length @ 1..=MAX_NOTE) => noted(buffer.get(..length).unwrap_or_default()),
                Ok(_) => warn!("keeper: a note that is none"),
                Err(Errno::EINTR) => {}
                Err(_) => return, // EAGAIN: no more
            }
        }
    }

    /// Returns what is readable when a note has come.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Keeps the end of the process that answers.
    pub(crate) fn into_line(self) -> NotesLine {
        NotesLine(Line::new(self.start))
    }
}

impl NotesLine {
    /// Sends a note, and waits for room.
    pub(crate) fn send(&self, note: &[u8]) -> io::Result<()> {
        if note.len() > MAX_NOTE {
            return Err(Errno::EMSGSIZE.into());
        }
        self.0.add(note, ROOM_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::scm_rights::send_now;

    fn read(notes: &Notes) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        notes.read(&mut |note| all.push(note.to_vec()));
        all
    }

    #[test]
    fn notes_come_whole_and_in_turn_and_reading_never_waits() {
        let notes = Notes::new().unwrap();
        assert!(read(&notes).is_empty());
        let line = NotesLine(Line::new(notes.start.try_clone().unwrap()));
        line.send(b"one").unwrap();
        line.send(&[7; MAX_NOTE]).unwrap();
        assert_eq!(read(&notes), [b"one".to_vec(), vec![7; MAX_NOTE]]);
        assert!(read(&notes).is_empty());
    }

    #[test]
    fn a_note_that_is_too_long_or_empty_is_dropped_and_the_next_is_read() {
        let notes = Notes::new().unwrap();
        for note in [&[7; MAX_NOTE + 1][..], &[7; 4000], b"", b"one"] {
            send_now(&notes.start, note, None).unwrap();
        }
        assert_eq!(read(&notes), [b"one"]);
        assert_eq!(
            notes.into_line().send(&[7; MAX_NOTE + 1]).unwrap_err().kind(),
            io::Error::from(Errno::EMSGSIZE).kind()
        );
    }

    #[test]
    fn a_descriptor_with_a_note_is_not_taken() {
        let notes = Notes::new().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send_now(&notes.start, b"one", Some(std::os::fd::AsFd::as_fd(&writer))).unwrap();
        drop(writer);
        assert_eq!(read(&notes), [b"one"]);
        // The pipe has no writer any more.
        assert_eq!(io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn without_room_or_a_keeper_a_note_is_an_error() {
        let notes = Notes::new().unwrap();
        while send_now(&notes.start, b"x", None).is_ok() {}
        let read = read(&notes).len();
        assert!((1..=MAX_AT_ONCE).contains(&read), "{read}");
        let line = notes.into_line(); // the keeper's end is closed
        assert_eq!(line.send(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
