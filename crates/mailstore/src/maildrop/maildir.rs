//! The maildrop of a Maildir.
//!
//! Other programs may change the folder during the session. They deliver letters, which this
//! session does not see. They move letters from `new` to `cur` and change flags, so a letter is
//! found again by the part of its name that never changes. They remove letters, which is an error
//! for those letters only.
//!
//! A size is that of the text that is sent, whatever the name of the file says: a letter is measured once, and what
//! was measured is kept in a file of the Maildir ([`crate::size_cache`]).

mod letters;
mod measure;
mod seen;
mod uids;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, UnlinkatFlags, fsync, geteuid, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::file_name;
use crate::folder::Folder;
use crate::id_list::IdList;
use crate::maildrop::letter_text::LetterText;
use crate::maildrop::removal::Removal;
use crate::session_lock::{self, SessionLock};
use crate::size_cache::{FileState, Measured, Notes, SizeCache};
use crate::sweep::sweep;
use letters::{FOLDER, Letter, Letters, Size, Subdir};
use measure::{compression, measure};

pub use uids::UniqueIds;

/// Time for which a letter missing in a listing counts as gone without another listing, because
/// thousands of removed letters must not cost a listing each.
const GONE_TTL: Duration = Duration::from_secs(1);
/// Most letters of a maildrop whose sizes are looked up when the session begins.
const MAX_AT_LOGIN: usize = 1_000;
/// Most letters of a maildrop each of which is looked at by stat(2) before its size is given. In a larger one a letter
/// that was measured counts as unchanged until it is read.
const MAX_LOOKED_AT: usize = 5_000;
/// Letters of a larger maildrop that one session measures although their names tell possible sizes. So the names of a
/// maildrop that was moved here are checked in the course of some sessions.
const MAX_MEASURED: usize = 500;

/// How the letters of a Maildir are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaildirOptions {
    /// Where unique ids come from.
    pub ids: UniqueIds,
    /// What was sent is marked as seen when the session ends.
    pub marks_seen: bool,
}

/// A locked Maildir. Letters are numbered from 0. Dropping it marks what was sent, keeps what was measured, and
/// releases the lock.
#[derive(Debug)]
pub(crate) struct MaildirDrop {
    path: PathBuf,
    /// The Maildir folder, `None` if there is no Maildir yet.
    folder: Option<OwnedFd>,
    _lock: Option<SessionLock>,
    /// The user who runs this, asked for once, because a process with a filter cannot ask.
    owner: Uid,
    options: MaildirOptions,
    letters: Letters,
    /// Number and time of the last listing.
    listing: u32,
    listed: Instant,
    /// What earlier sessions have measured, `None` before it is needed.
    cache: Option<SizeCache>,
    /// Number of letters measured in this session.
    measured: usize,
    /// What letters are read into to be measured; empty before the first.
    buffer: Vec<u8>,
    /// Something was measured that the cache does not have.
    is_cache_old: bool,
    /// The ids that another server has given.
    ids: IdList,
}

impl MaildirDrop {
    /// Returns the maildrop of a Maildir that does not exist yet: it is empty. The path is for messages.
    pub(crate) fn none(path: &Path) -> MaildirDrop {
        MaildirDrop {
            path: path.to_owned(),
            folder: None,
            _lock: None,
            owner: geteuid(),
            options: MaildirOptions::default(),
            letters: Letters::default(),
            listing: 0,
            listed: Instant::now(),
            cache: None,
            measured: 0,
            buffer: Vec::new(),
            is_cache_old: false,
            ids: IdList::default(),
        }
    }

    /// Locks and lists the maildrop in a Maildir, which is never opened by its name again. Letters are
    /// neither opened nor passed to stat(2).
    ///
    /// # Errors
    /// [`Error::InUse`] while another session has the lock, [`Error::Io`] if the maildrop cannot be
    /// read, which includes a missing `new` or `cur`.
    pub(crate) fn open(maildir: &Folder, options: MaildirOptions) -> Result<MaildirDrop> {
        let path = maildir.path();
        let folder = maildir.reopen()?.into_fd();
        let lock = session_lock::lock(&folder, path)?;
        let letters = Letters::list(&folder, path)?;
        let mut drop = MaildirDrop::none(path);
        (drop.options, drop.letters, drop._lock) = (options, letters, Some(lock));
        drop.ids = options.ids.read(&folder, path, &drop.letters);
        drop.folder = Some(folder);
        if drop.letters.has_twins()
            && let Some(folder) = &drop.folder
        {
            let cache = drop.cache.insert(SizeCache::read(folder, path, drop.owner));
            uids::tell_twins(&mut drop.letters, cache);
            for index in drop.letters.twins().into_iter().flatten() {
                let _ = drop.size(index); // it is noted with its size who is one, so that it stays so
            }
        }
        uids::tell_repeated(&mut drop.letters, &drop.ids);
        Ok(drop)
    }

    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Returns the unique id of a letter (RFC 1939 §7, UIDL): 1 to 70 characters from 0x21 to 0x7E, the same in
    /// every session and with any flags.
    ///
    /// Two letters with one name before the flags, which no correct program creates, or with one id in another
    /// server's list, have different ids: a client that confused them would lose mail. The first keeps its id.
    pub(crate) fn uid(&mut self, index: usize) -> Option<Vec<u8>> {
        let Letter { inode, mut is_twin, .. } = *self.letters.get(index)?;
        if is_twin {
            let _ = self.size(index); // that it is a twin is noted with its size
        } else if self.cache().is_some_and(SizeCache::has_twins) {
            is_twin = self.cached(index).is_some_and(|it| it.notes.is_twin);
        }
        let base = self.letters.base(index);
        if is_twin {
            return Some(file_name::uid(base, Some(inode)));
        }
        Some(self.ids.get(base).unwrap_or_else(|| file_name::uid(base, None)))
    }

    /// Returns the size of a letter with CRLF line ends (RFC 1939 §11), if it is known without reading the letter.
    pub(crate) fn known_size(&self, index: usize) -> Option<u64> {
        match self.letters.get(index)?.size {
            Size::Unknown => None,
            Size::Named(octets) => Some(octets),
            Size::Measured(measured) => Some(measured.octets),
        }
    }

    /// Looks up all sizes, if there are not many.
    pub(crate) fn look_up_sizes(&mut self) {
        if self.letters.len() <= MAX_AT_LOGIN {
            for index in 0..self.letters.len() {
                let _ = self.size(index); // an error is logged when the size is asked for
            }
        }
    }

    /// Returns the size of a letter with CRLF line ends, unpacked: as it was measured, in this session or an earlier
    /// one.
    ///
    /// # Errors
    /// [`Error::Io`] if the letter must be read and cannot be.
    pub(crate) fn size(&mut self, index: usize) -> Result<u64> {
        if let Some(octets) = self.known_size(index) {
            return Ok(octets);
        }
        let are_few = self.letters.len() <= MAX_LOOKED_AT;
        let named = self.letters.named(index);
        let size = match (self.cached(index), named) {
            (Some(it), _)
                if !are_few
                    || self.letters.state(self.folder.as_ref(), index) == Some(it.state) =>
            {
                Size::Measured(it)
            }
            (None, Some(sizes)) if !are_few && self.measured >= MAX_MEASURED => {
                Size::Named(sizes.octets)
            }
            _ => Size::Measured(self.measure(index)?),
        };
        self.set_size(index, size);
        Ok(self.known_size(index).unwrap_or(0))
    }

    /// Returns what an earlier session has measured, which may be of another state of the letter.
    fn cached(&mut self, index: usize) -> Option<Measured> {
        let id = self.letters.id(index)?;
        self.cache()?.get(id)
    }

    fn cache(&mut self) -> Option<&SizeCache> {
        let folder = self.folder.as_ref()?;
        Some(self.cache.get_or_insert_with(|| SizeCache::read(folder, &self.path, self.owner)))
    }

    /// Reads a letter to its end.
    fn measure(&mut self, index: usize) -> Result<Measured> {
        let (file, state) = self.open_letter_again(index)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let measured = measure(file, state, || self.full_path(index), &mut buffer);
        self.buffer = buffer;
        let mut measured = measured?;
        measured.notes.is_twin = self.letters.get(index).is_some_and(|letter| letter.is_twin);
        self.measured += 1;
        self.is_cache_old = true;
        Ok(measured)
    }

    /// Records the size of a letter that was sent to its end. Returns whether it differs from the
    /// known size.
    pub(crate) fn correct_size(&mut self, index: usize, octets: u64) -> bool {
        let Some(letter) = self.letters.get_mut(index) else { return false };
        letter.is_sent = true;
        match &mut letter.size {
            Size::Unknown => letter.size = Size::Named(octets),
            Size::Named(known) if *known == octets => {}
            Size::Measured(it) if it.octets == octets => {}
            // It changes while it is read. What the next session measures may be true.
            size => {
                *size = Size::Named(octets);
                self.is_cache_old = true;
                return true;
            }
        }
        false
    }

    /// Opens a letter for reading, even if other programs have moved it. A letter whose size the open file proves wrong is
    /// measured again.
    ///
    /// # Errors
    /// [`Error::Io`], ENOENT if another program removed it; [`Error::Refused`] for one that cannot be unpacked.
    pub(crate) fn read(&mut self, index: usize) -> Result<LetterText> {
        let (file, state) = self.open_letter_again(index)?;
        if !self.is_still(index, state) {
            let measured = self.measure(index)?;
            self.set_size(index, Size::Measured(measured));
        }
        let notes = match self.letters.get(index).map(|letter| letter.size) {
            Some(Size::Measured(measured)) => measured.notes,
            _ => self.notes_of(index, &file)?,
        };
        if notes.is_refused {
            let why = "packed by another program, and cannot be unpacked";
            return Err(Error::Refused(format!("{}: {why}", self.full_path(index).display())));
        }
        let (packed, bytes) = (notes.is_packed, state.bytes);
        Ok(if packed { LetterText::packed(file) } else { LetterText::file(file, bytes) })
    }

    /// Returns whether the size of a letter, if it is known, is that of a file in this state.
    fn is_still(&self, index: usize, state: FileState) -> bool {
        match self.letters.get(index).map(|letter| letter.size) {
            Some(Size::Measured(measured)) => measured.state == state,
            Some(Size::Named(_)) => {
                self.letters.named(index).is_some_and(|sizes| sizes.bytes == state.bytes)
            }
            _ => true,
        }
    }

    fn set_size(&mut self, index: usize, size: Size) {
        if let Some(letter) = self.letters.get_mut(index) {
            letter.size = size;
        }
    }

    /// Returns how a letter that was not measured is packed. One that is packed is measured for it.
    fn notes_of(&mut self, index: usize, file: &File) -> Result<Notes> {
        let path = self.full_path(index);
        if compression(file).map_err(Error::io("read", &path))?.is_none() {
            return Ok(Notes::default());
        }
        let measured = self.measure(index)?;
        self.set_size(index, Size::Measured(measured));
        Ok(measured.notes)
    }

    /// Removes as many of the letters as possible, and waits until that is on the disk. A letter that is gone
    /// already counts as removed.
    pub(crate) fn remove(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        let mut removal = self.unlink_all(indices);
        if removal.removed > 0 {
            removal.unsynced = self.sync().err();
        }
        removal
    }

    fn unlink_all(&mut self, indices: impl Iterator<Item = usize>) -> Removal {
        let mut removal = Removal::default();
        let mut missing = Vec::new();
        let failed = |drop: &MaildirDrop, index: usize, errno: Errno| {
            Error::io("unlink", &drop.full_path(index))(errno)
        };
        for index in indices {
            match self.unlink(index) {
                Ok(()) => removal.removed += 1,
                Err(Errno::ENOENT) => missing.push(index),
                Err(errno) => removal.failed.push(failed(self, index, errno)),
            }
        }
        if missing.is_empty() {
            return removal;
        }
        if let Err(error) = self.find_again() {
            removal.failed.push(error);
            return removal;
        }
        for index in missing {
            match self.unlink(index) {
                Ok(()) | Err(Errno::ENOENT) => removal.removed += 1,
                Err(errno) => removal.failed.push(failed(self, index, errno)),
            }
        }
        removal
    }

    /// Fsyncs both folders, once. A letter that another program removed may have been in either.
    fn sync(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for subdir in Subdir::BOTH {
            let path = self.path.join(subdir.name());
            let open = || openat(folder, subdir.name(), FOLDER, Mode::empty());
            let dir = retry_eintr(open).map_err(Error::io("open", &path))?;
            retry_eintr(|| fsync(&dir)).map_err(Error::io("fsync", &path))?;
        }
        Ok(())
    }

    /// Removes files of interrupted deliveries from `tmp`, if not touched for 36 hours.
    pub(crate) fn sweep(&self) {
        if let Some(folder) = &self.folder {
            let count = sweep(folder);
            if count > 0 {
                log::info!("{}: {count} leftovers in tmp removed", self.path.display());
            }
        }
    }

    fn unlink(&mut self, index: usize) -> nix::Result<()> {
        let name = self.letters.relative(index).ok_or(Errno::ENOENT)?;
        let folder = self.folder.as_ref().ok_or(Errno::ENOENT)?;
        unlinkat(folder, &name, UnlinkatFlags::NoRemoveDir)?;
        if let Some(letter) = self.letters.get_mut(index) {
            letter.is_sent = false; // nothing is left to be marked
        }
        Ok(())
    }

    /// Opens a letter, and lists the folders again if it is not where it was.
    fn open_letter_again(&mut self, index: usize) -> Result<(File, FileState)> {
        let opened = match self.letters.open(self.folder.as_ref(), index) {
            Err(Errno::ENOENT) if !self.is_gone(index) && self.find_again()? => {
                self.letters.open(self.folder.as_ref(), index)
            }
            other => other,
        };
        opened.map_err(|errno| Error::io("open", &self.full_path(index))(errno))
    }

    /// Returns whether the letter was missing in a recent listing.
    fn is_gone(&self, index: usize) -> bool {
        let missed = self.letters.get(index).is_none_or(|letter| letter.listing < self.listing);
        missed && self.listed.elapsed() < GONE_TTL
    }

    fn full_path(&self, index: usize) -> PathBuf {
        self.letters.relative(index).map_or(self.path.clone(), |name| self.path.join(name))
    }

    /// Lists the folders again. Returns whether a name has changed.
    fn find_again(&mut self) -> Result<bool> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let listing = self.listing.saturating_add(1);
        let changed = self.letters.find_again(folder, &self.path, listing)?;
        (self.listing, self.listed) = (listing, Instant::now());
        Ok(changed)
    }

    /// Marks what was sent as seen. A letter that another program has moved is found again once.
    fn mark_sent(&mut self) {
        let sent = |letter: &Letter| letter.is_sent;
        let sent: Vec<usize> =
            (0..self.letters.len()).filter(|at| self.letters.get(*at).is_some_and(sent)).collect();
        for index in sent {
            let Some(folder) = &self.folder else { return };
            let marked = match seen::mark(folder, &mut self.letters, index) {
                Err(Errno::ENOENT) if !self.is_gone(index) => {
                    match (self.find_again(), &self.folder) {
                        (Ok(true), Some(folder)) => seen::mark(folder, &mut self.letters, index),
                        _ => Ok(()),
                    }
                }
                marked => marked,
            };
            match marked {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let path = self.full_path(index);
                    log::warn!("{}: not marked as seen: {}", path.display(), errno.desc());
                    return; // the others would fail, too
                }
            }
        }
    }

    /// Keeps what was measured for the next session.
    fn save_sizes(&mut self) {
        if !std::mem::take(&mut self.is_cache_old) {
            return;
        }
        let entries = self.letters.measured(self.cache.as_ref());
        let Some(folder) = &self.folder else { return };
        if let Err(error) = SizeCache::write(folder, entries) {
            log::debug!("{}: sizes not kept: {error}", self.path.display());
        }
    }
}

impl Drop for MaildirDrop {
    fn drop(&mut self) {
        if self.options.marks_seen {
            self.mark_sent();
        }
        self.save_sizes();
    }
}

#[cfg(test)]
mod tests;
