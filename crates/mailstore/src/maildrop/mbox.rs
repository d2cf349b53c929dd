//! The maildrop of an mbox.
//!
//! The mbox is locked while it is read at the begin, and again in UPDATE; in between letters can be
//! delivered, which this session does not see and UPDATE keeps. What another program has changed in the
//! letters that this session knows is found, and then no letter is removed.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::maildrop::removal::Removal;
use crate::mbox::fault::point;
use crate::mbox::format::{NUMBER, is_blank, is_separator};
use crate::mbox::index::{Letter, MboxIds, index, notes};
use crate::mbox::letter::{Known, MboxText};
use crate::mbox::lines::{Lines, read_at};
use crate::mbox::spool_line::SpoolAt;

/// Longest wait for the session's lock, because a session may just be about to end.
const SESSION_WAIT: Duration = Duration::from_millis(500);
/// Longest wait for the locks of the mbox at the begin, and in UPDATE: a delivery has them while it writes a
/// letter.
const OPEN_WAIT: Duration = Duration::from_secs(2);
const UPDATE_WAIT: Duration = Duration::from_secs(15);
/// Longest wait for a delivery to a file that was the mbox before UPDATE.
const LATE_WAIT: Duration = Duration::from_secs(5);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Size of a piece that is copied, in bytes.
const CHUNK: usize = 256 * 1024;

/// An mbox under the session's lock. Letters are numbered from 0. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct MboxDrop {
    spool: SpoolAt,
    ids: MboxIds,
    /// The mbox as it was opened; `None` where there was none.
    file: Option<Arc<File>>,
    /// What is known of it: [`Known::size`] bytes, in which the letters are.
    known: Known,
    letters: Vec<Letter>,
}

/// An mbox under the session's lock and its own ones, which nothing was read of yet.
#[derive(Debug)]
pub struct LockedMbox {
    spool: SpoolAt,
    /// `None` where there is no mbox.
    file: Option<File>,
}

impl LockedMbox {
    /// Takes the locks.
    ///
    /// # Errors
    /// [`Error::InUse`] while another session, or another program, has one; [`Error::Io`].
    pub fn lock(mut spool: SpoolAt) -> Result<LockedMbox> {
        let until = Instant::now() + SESSION_WAIT;
        while let Err(error) = spool.begin() {
            if !matches!(error, Error::InUse { .. }) || Instant::now() >= until {
                return Err(error);
            }
            std::thread::sleep(LOOK);
        }
        let file = spool.lock(OPEN_WAIT)?;
        Ok(LockedMbox { spool, file })
    }
}

impl MboxDrop {
    /// Locks the maildrop, and reads the mbox once, under its own locks.
    ///
    /// # Errors
    /// As [`LockedMbox::lock`] and [`MboxDrop::read_locked`].
    #[cfg(test)]
    pub(crate) fn open(spool: SpoolAt, ids: MboxIds) -> Result<MboxDrop> {
        MboxDrop::read_locked(LockedMbox::lock(spool)?, ids)
    }

    /// Reads the mbox once, and gives its own locks back.
    ///
    /// # Errors
    /// [`Error::Temporary`] where the file is no mbox; [`Error::Io`].
    pub(crate) fn read_locked(locked: LockedMbox, ids: MboxIds) -> Result<MboxDrop> {
        let LockedMbox { spool, file } = locked;
        let (known, letters) = (Known::default(), Vec::new());
        let mut drop = MboxDrop { spool, ids, file: None, known, letters };
        if let Some(file) = file {
            let read = drop.read_letters(&file);
            drop.spool.unlock();
            (drop.known, drop.letters) = read?;
            drop.file = Some(Arc::new(file));
        }
        Ok(drop)
    }

    fn read_letters(&self, file: &File) -> Result<(Known, Vec<Letter>)> {
        let known = Known::of(file).map_err(Error::io("stat", self.spool.path()))?;
        Ok((known, index((file, self.spool.path()), 0..known.size, self.ids)?))
    }

    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(crate) fn uid(&self, index: usize) -> Option<Vec<u8>> {
        self.letters.get(index).map(Letter::uid)
    }

    pub(crate) fn size(&self, index: usize) -> Option<u64> {
        self.letters.get(index).map(|letter| letter.octets)
    }

    /// Opens a letter for reading. Where the file has changed since it was read, this letter is looked at
    /// again.
    ///
    /// # Errors
    /// [`Error::Temporary`] where another program has changed it; [`Error::Io`].
    pub(crate) fn read(&mut self, index: usize) -> Result<MboxText> {
        let (letter, file) = match (self.letters.get(index), &self.file) {
            (Some(letter), Some(file)) => (letter.clone(), file.clone()),
            _ => {
                let none = io::Error::from(io::ErrorKind::NotFound);
                return Err(Error::io("open", self.spool.path())(none));
            }
        };
        let part = letter.start..self.end_of(index);
        MboxText::open((file, self.spool.path()), &self.known, letter, part)
    }

    /// Returns the place of the next letter, or of the end.
    fn end_of(&self, index: usize) -> u64 {
        self.letters.get(index + 1).map_or(self.known.size, |next| next.start)
    }

    /// Removes all of these letters, or none: by a new file without them.
    pub(crate) fn remove(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        let mut marked = vec![false; self.letters.len()];
        for index in indices {
            if let Some(mark) = marked.get_mut(index) {
                *mark = true;
            }
        }
        let count = marked.iter().filter(|mark| **mark).count();
        if count == 0 {
            return Removal::default();
        }
        match self.rewrite(&marked) {
            Ok(synced) => Removal { removed: count, unsynced: synced.err(), ..Removal::default() },
            Err(error) => Removal { failed: vec![error], ..Removal::default() },
        }
    }

    /// Makes the mbox one without the marked letters; returns whether that is on the disk.
    fn rewrite(&mut self, marked: &[bool]) -> Result<Result<()>> {
        let Some(before) = self.spool.lock(UPDATE_WAIT)? else {
            let why = "another program has removed it";
            return Err(Error::Temporary(format!("{}: {why}", self.spool.path().display())));
        };
        let replaced = self.replace(&before, marked);
        let synced = if replaced.is_ok() { self.spool.sync() } else { Ok(()) };
        self.spool.unlock();
        if let Err(error) = self.rescue(&before, replaced?) {
            log::warn!("what was delivered to the file before UPDATE may be lost: {error}");
        }
        Ok(synced)
    }

    /// Puts a file without the marked letters in the place of the mbox. Returns how much of the mbox was
    /// copied or left out.
    fn replace(&mut self, before: &File, marked: &[bool]) -> Result<u64> {
        let path = self.spool.path().to_owned();
        let mut size = self.check_known(before)?;
        let mut next = self.spool.draft()?;
        let is_last_kept = marked.last() != Some(&true);
        let new = delivered((before, &path), self.known.size..size, is_last_kept)?..size;
        for (part, note) in self.kept(before, marked).map_err(Error::io("read", &path))? {
            copy(before, &mut next, part)
                .and_then(|()| next.write_all(&note))
                .map_err(Error::io("write", &path))?;
        }
        let mut copy = |part| copy(before, &mut next, part).map_err(Error::io("write", &path));
        copy(new)?;
        // What a program appends that does not look for locks.
        loop {
            let now = before.metadata().map_err(Error::io("stat", &path))?.len();
            if now <= size {
                break;
            }
            copy(size..now)?;
            size = now;
        }
        self.spool.commit()?;
        Ok(size)
    }

    /// Returns the parts of the mbox that are not marked, each with what is put behind it: the number of a letter that
    /// would get another id, as a field at the begin of its header.
    fn kept(&self, file: &File, marked: &[bool]) -> io::Result<Vec<(Range<u64>, Vec<u8>)>> {
        let mut parts: Vec<(Range<u64>, Vec<u8>)> = Vec::new();
        let notes = notes(&self.letters, marked);
        for (index, letter) in self.letters.iter().enumerate() {
            if marked.get(index) != Some(&false) {
                continue;
            }
            let end = self.end_of(index);
            let last =
                parts.last_mut().filter(|(last, note)| last.end == letter.start && note.is_empty());
            match last {
                Some((last, _)) => last.end = end,
                None => parts.push((letter.start..end, Vec::new())),
            }
            let note = notes.get(index).copied().flatten();
            let Some(field) = note.map(|number| field(file, letter, number)).transpose()? else {
                continue;
            };
            if let Some((last, behind)) = parts.last_mut() {
                (last.end, *behind) = (letter.text.start, field);
                parts.push((letter.text.start..end, Vec::new()));
            }
        }
        Ok(parts)
    }

    /// Checks that the letters which this session knows are in the file still, where they were. Returns its
    /// size now.
    fn check_known(&self, file: &File) -> Result<u64> {
        let path = self.spool.path();
        let now = Known::of(file).map_err(Error::io("stat", path))?;
        if self.known.is_unchanged(&now) {
            return Ok(now.size);
        }
        let is_there = now.inode == self.known.inode && now.size >= self.known.size && {
            let again = index((file, path), 0..self.known.size, self.ids)?;
            again.len() == self.letters.len()
                && again.iter().zip(&self.letters).all(|(one, other)| one.is_same(other))
        };
        if is_there {
            return Ok(now.size);
        }
        let why = "another program has changed it during the session; no letter was removed";
        Err(Error::Temporary(format!("{}: {why}", path.display())))
    }

    /// Appends to the mbox what was appended to the file before: by a program that had opened it before its
    /// place was taken, and then waited for the lock.
    fn rescue(&mut self, before: &File, mut copied: u64) -> Result<()> {
        let until = Instant::now() + LATE_WAIT;
        loop {
            let is_written = self.spool.is_written(before)?;
            let path = self.spool.path();
            let now = before.metadata().map_err(Error::io("stat", path))?.len();
            if now > copied {
                self.append(before, copied..now)?;
                copied = now;
            } else if !is_written {
                return Ok(());
            } else if Instant::now() >= until {
                log::warn!(
                    "{}: another program keeps the file open that was there before UPDATE; what it \
                     writes to that is lost",
                    path.display()
                );
                return Ok(());
            } else {
                std::thread::sleep(LOOK);
            }
        }
    }

    fn append(&mut self, before: &File, part: Range<u64>) -> Result<()> {
        let path = self.spool.path().to_owned();
        if self.spool.lock(UPDATE_WAIT)?.is_none() {
            return Err(Error::Temporary(format!("{}: is not there any more", path.display())));
        }
        let appended = self.spool.append().and_then(|mut mbox| {
            let copied = copy(before, &mut mbox, part).and_then(|()| mbox.sync_all());
            copied.map_err(Error::io("write", &path))
        });
        self.spool.unlock();
        appended
    }
}

/// Returns where the letters begin that were delivered during the session, in this part of the file: behind
/// the rest of the last letter that the session knows, which goes with it. A blank line is its end, where
/// that had none.
///
/// # Errors
/// [`Error::Temporary`] where something else was appended.
fn delivered((file, path): (&File, &Path), part: Range<u64>, keeps_last: bool) -> Result<u64> {
    if keeps_last || part.is_empty() {
        return Ok(part.start);
    }
    let mut lines = Lines::new(file, part.clone());
    while let Some(line) = lines.next().map_err(Error::io("read", path))? {
        if is_separator(line.bytes) {
            return Ok(line.offset);
        }
        if !is_blank(line.bytes) {
            let why = "something was appended that is no letter; no letter was removed";
            return Err(Error::Temporary(format!("{}: {why}", path.display())));
        }
    }
    Ok(part.end)
}

/// Returns the field that notes the number of a letter, with the line end of its separator; nothing where a field has no
/// place.
fn field(file: &File, letter: &Letter, number: u32) -> io::Result<Vec<u8>> {
    let mut around = [0; 3]; // the end of the separator, and the first byte behind it
    let count = read_at(file, &mut around, letter.text.start.saturating_sub(2))?;
    let end: &[u8] = match around.get(..count) {
        Some([_, b'\n', b' ' | b'\t']) => return Ok(Vec::new()), // it would be a part of this field
        Some([b'\r', b'\n', ..]) => b"\r\n",
        Some([_, b'\n', ..]) => b"\n",
        _ => return Ok(Vec::new()),
    };
    Ok([NUMBER, b": ", number.to_string().as_bytes(), end].concat())
}

/// Copies a part of a file to the end of another.
fn copy(from: &File, to: &mut File, part: Range<u64>) -> io::Result<()> {
    let mut piece = vec![0; CHUNK];
    let mut at = part.start;
    while at < part.end {
        let most = usize::try_from(part.end - at).unwrap_or(CHUNK).min(CHUNK);
        let count = read_at(from, piece.get_mut(..most).unwrap_or_default(), at)?;
        point("write")?;
        to.write_all(piece.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
