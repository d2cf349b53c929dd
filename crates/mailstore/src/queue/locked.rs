//! A letter of the queue in the hands of the process that sends it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, FcntlArg, OFlag, fallocate, fcntl, openat};
use nix::libc;
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::queue::envelope::QueueEnvelope;
use crate::queue::parts::{FILE_MODE, Parts, STATE as STATE_FOLDER};
use crate::queue::state::{self, RecipientState, Stage, UnderWay};

/// open(2) flags for a letter, which no process writes to. A FIFO is not waited for.
const LETTER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
/// open(2) flags for its states, whose file is there as long as a process sends it.
const STATE: OFlag = OFlag::O_RDWR
    .union(OFlag::O_CREAT)
    .union(OFlag::O_APPEND)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);

/// A letter, locked for some of its recipients or for all: record locks of the open file of its states (fcntl(2)), a
/// byte for each recipient, which end with the process. All files are open from the start, so that the process
/// can give up the rest.
#[derive(Debug)]
pub struct LockedLetter {
    parts: Arc<Parts>,
    read: QueuedLetter,
    state: File,
    /// Lines can be added to the states as they are. Only a power cut leaves a part of one, before this process.
    ends_in_lf: bool,
}

/// A letter as it is on the disk.
#[derive(Debug)]
pub struct QueuedLetter {
    name: OsString,
    file: File,
    envelope: QueueEnvelope,
    /// Where the text begins in the file.
    text_at: u64,
    /// Of each recipient.
    states: Vec<RecipientState>,
}

impl QueuedLetter {
    /// Reads the envelope of a letter; all recipients wait. `None` if it is there no more.
    fn open(parts: &Parts, name: &OsStr) -> Result<Option<QueuedLetter>> {
        check_name(name)?;
        let (letters, path) = (&parts.letters, parts.letters.path().join(name));
        let file = match retry_eintr(|| openat(letters, name, LETTER, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("open", &path)(errno)),
        };
        let (envelope, text_at) = QueueEnvelope::read(&mut BufReader::new(&file))
            .map_err(|error| malformed(&path, &error))?;
        let states = vec![RecipientState::default(); envelope.recipients.len()];
        Ok(Some(QueuedLetter { name: name.to_owned(), file, envelope, text_at, states }))
    }

    /// Reads a letter and its states without a lock; `None` if it is there no more.
    pub(super) fn read(parts: &Parts, name: &OsStr) -> Result<Option<QueuedLetter>> {
        let Some(mut letter) = QueuedLetter::open(parts, name)? else { return Ok(None) };
        let Some(state) = &parts.state else { return Ok(Some(letter)) };
        let path = state.path().join(name);
        match retry_eintr(|| openat(state, name, LETTER, Mode::empty())) {
            Ok(file) => letter.read_states(&File::from(file), &path)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Error::io("open", &path)(errno)),
        }
        Ok(Some(letter))
    }

    fn read_states(&mut self, file: &File, path: &std::path::Path) -> Result<()> {
        let states = state::read(&mut BufReader::new(file), self.states.len());
        self.states = states.map_err(Error::io("read", path))?;
        Ok(())
    }

    /// Returns its name in the queue.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns its envelope.
    #[must_use]
    pub fn envelope(&self) -> &QueueEnvelope {
        &self.envelope
    }

    /// Returns what has become of each of its recipients, in the order of the envelope.
    #[must_use]
    pub fn states(&self) -> &[RecipientState] {
        &self.states
    }

    /// Returns the length of its text in bytes, as it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] as fstat(2).
    pub fn text_length(&self) -> Result<u64> {
        let stat =
            self.file.metadata().map_err(Error::io("stat", std::path::Path::new(&self.name)))?;
        Ok(stat.len().saturating_sub(self.text_at))
    }

    /// Returns its text, with lines that end in LF, from the first byte. There is one reader at a time, because all
    /// share the offset of the file.
    ///
    /// # Errors
    /// [`Error::Io`] as lseek(2).
    pub fn text(&self) -> Result<BufReader<&File>> {
        let mut file = &self.file;
        let sought = file.seek(SeekFrom::Start(self.text_at));
        sought.map_err(Error::io("seek in", std::path::Path::new(&self.name)))?;
        Ok(BufReader::with_capacity(TEXT, file))
    }
}

/// Bytes that a file's last block has at least on disks of today.
const BLOCK: u64 = 4096;
/// Room is set aside without a change of the file's length.
const KEEP_SIZE: FallocateFlags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
/// Bytes of a text that are read at a time.
const TEXT: usize = 64 << 10;

impl LockedLetter {
    /// Locks a letter for these recipients, by number from 0; for all of them without a list.
    pub(super) fn lock(
        parts: &Arc<Parts>,
        name: &OsStr,
        recipients: Option<&[usize]>,
    ) -> Result<Option<LockedLetter>> {
        let Some(mut read) = QueuedLetter::open(parts, name)? else { return Ok(None) };
        let (folder, path) = (parts.state()?, parts.path(STATE_FOLDER).join(name));
        let opened = retry_eintr(|| openat(folder, name, STATE, FILE_MODE));
        let state = File::from(opened.map_err(Error::io("open", &path))?);
        let ranges = recipients.map_or_else(|| vec![(0, 0)], ranges);
        for (start, length) in ranges {
            match retry_eintr(|| fcntl(&state, FcntlArg::F_OFD_SETLK(&range(start, length)))) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    return Err(Error::InUse { what: path.display().to_string() });
                }
                Err(errno) => return Err(Error::io("lock", &path)(errno)),
            }
        }
        // It may have been removed by the process that had the lock before, with its states.
        if !is_still(&read.file, &parts.letters, name)? {
            if is_still(&state, folder, name)? {
                let _ = unlinkat(folder, name, UnlinkatFlags::NoRemoveDir); // or it is swept
            }
            return Ok(None);
        }
        read.read_states(&state, &path)?;
        Ok(Some(LockedLetter { parts: Arc::clone(parts), read, state, ends_in_lf: false }))
    }

    /// Returns whether another process has a lock on a letter.
    pub(super) fn is_locked(parts: &Parts, name: &OsStr) -> bool {
        let Some(state) = &parts.state else { return false };
        let opened = retry_eintr(|| openat(state, name, LETTER, Mode::empty()));
        let mut lock = libc::flock { l_type: libc::F_RDLCK as libc::c_short, ..range(0, 0) };
        let asked = opened.and_then(|file| fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)));
        asked.is_ok() && libc::c_int::from(lock.l_type) != libc::F_UNLCK
    }

    /// Appends what has become of recipients, by number from 0, in one write(2): a crash of this process leaves it
    /// whole or not at all. With `is_durable` it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] where there is no such recipient.
    pub fn record(&mut self, new: &[(usize, RecipientState)], is_durable: bool) -> Result<()> {
        let path = self.state_path();
        if let Some((number, _)) = new.iter().find(|(number, _)| *number >= self.read.states.len())
        {
            return Err(Error::Refused(format!("{}: no recipient {number}", path.display())));
        }
        let lines = new.iter().map(|(number, state)| state.line(*number));
        self.append(&lines.collect::<Vec<_>>().concat(), is_durable)?;
        for (number, state) in new {
            if let Some(known) = self.read.states.get_mut(*number) {
                *known = state.clone();
            }
        }
        Ok(())
    }

    /// Says that an attempt for these recipients begins, by number from 0, and makes room for what [`LockedLetter::record`]
    /// will have to say of it: a letter whose outcome cannot be written down would be sent again.
    ///
    /// # Errors
    /// [`Error::Io`]: there is no room, or the disk fails.
    pub fn record_sending(&mut self, recipients: &[usize]) -> Result<()> {
        let lines: Vec<u8> = recipients.iter().flat_map(|&it| state::sending(now(), it)).collect();
        self.append(&lines, false)?;
        let path = self.state_path();
        let from = self.state.metadata().map_err(Error::io("stat", &path))?.len();
        let to = from + (recipients.len() * state::MAX_LINE) as u64;
        // A file has the rest of its last block.
        if from.div_ceil(BLOCK) == to.div_ceil(BLOCK) {
            return Ok(());
        }
        let length = |it: u64| libc::off_t::try_from(it).unwrap_or(libc::off_t::MAX);
        let (at, more) = (length(from), length(to - from));
        match retry_eintr(|| fallocate(&self.state, KEEP_SIZE, at, more)) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(errno) => Err(Error::io("write to", &path)(errno)),
        }
    }

    /// Records that the author was notified of what has become of these recipients; it is on the disk when this returns.
    ///
    /// # Errors
    /// As [`LockedLetter::record`].
    pub fn record_notified(&mut self, recipients: &[usize]) -> Result<()> {
        let state = |&number: &usize| {
            let known = self.read.states.get(number)?;
            let under_way = known.under_way.filter(|it| it.is_warning);
            let (stage, at) = (Stage::Notified, now());
            Some((number, RecipientState { stage, at, under_way, ..known.clone() }))
        };
        let notified: Vec<_> = recipients.iter().filter_map(state).collect();
        self.record(&notified, true)
    }

    /// Returns whether the author was notified of the delay of a recipient, by its number from 0.
    #[must_use]
    pub fn is_warned(&self, recipient: usize) -> bool {
        self.read.states.get(recipient).is_some_and(|state| state.is_warned)
    }

    /// Records that the author was notified of the delay of these recipients; it is on the disk when this returns.
    ///
    /// # Errors
    /// As [`LockedLetter::record`].
    pub fn note_warned(&mut self, recipients: &[usize]) -> Result<()> {
        let known = recipients.iter().filter(|&&number| number < self.read.states.len());
        let lines: Vec<u8> = known.flat_map(|&number| state::warned(now(), number)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        self.append(&lines, true)?;
        for &number in recipients {
            if let Some(state) = self.read.states.get_mut(number) {
                state.warned();
            }
        }
        Ok(())
    }

    /// Returns the number of the next notification about this letter.
    #[must_use]
    pub fn next_notice(&self) -> u64 {
        let last = self.read.states.iter().map(|state| state.last_notice).max();
        last.unwrap_or_default().saturating_add(1)
    }

    /// Records which notifications are under way about which recipients, by number from 0; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]. It may be on the disk.
    pub fn record_under_way(&mut self, new: &[(usize, UnderWay)]) -> Result<()> {
        let lines = new.iter().flat_map(|(number, it)| state::under_way(now(), *number, *it));
        self.append(&lines.collect::<Vec<u8>>(), true)?;
        for (number, notice) in new {
            if let Some(state) = self.read.states.get_mut(*number) {
                state.notifies(*notice);
            }
        }
        Ok(())
    }

    /// Appends lines. One that a crash has cut gets its end before, and does not count.
    fn append(&mut self, lines: &[u8], is_durable: bool) -> Result<()> {
        let path = self.state_path();
        let is_cut = !self.ends_in_lf && {
            let length = self.state.metadata().map_err(Error::io("stat", &path))?.len();
            let mut last = *b"\n";
            if length > 0 {
                let read = self.state.read_exact_at(&mut last, length - 1);
                read.map_err(Error::io("read", &path))?;
            }
            last != *b"\n"
        };
        let cut_lines = [b"\n", lines].concat();
        let lines = if is_cut { &cut_lines } else { lines };
        self.ends_in_lf = false;
        (&self.state).write_all(lines).map_err(Error::io("write to", &path))?;
        self.ends_in_lf = true;
        if is_durable {
            self.state.sync_data().map_err(Error::io("fsync", &path))?;
            self.parts.state()?.sync()?; // the file may be new
        }
        Ok(())
    }

    /// Removes the letter, whose recipients are all done. [`crate::Queue::sync`] makes that last.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<()> {
        remove(&self.parts, self.name())
    }

    fn state_path(&self) -> PathBuf {
        self.parts.path(STATE_FOLDER).join(&self.read.name)
    }
}

impl std::ops::Deref for LockedLetter {
    type Target = QueuedLetter;

    fn deref(&self) -> &QueuedLetter {
        &self.read
    }
}

/// Removes a letter, then what belongs to it, so that a crash between leaves nothing that is sent.
pub(super) fn remove(parts: &Parts, name: &OsStr) -> Result<()> {
    let flag = UnlinkatFlags::NoRemoveDir;
    match unlinkat(&parts.letters, name, flag) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(Error::io("unlink", &parts.letters.path().join(name))(errno)),
    }
    // What stays without its letter is swept.
    for folder in [&parts.state, &parts.hold].into_iter().flatten() {
        let _ = unlinkat(folder, name, flag);
    }
    Ok(())
}

/// Checks that this is a name of a file.
pub(super) fn check_name(name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.starts_with(b".") || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(Error::Refused(format!("'{}' is no name of a letter", bytes.escape_ascii())));
    }
    Ok(())
}

/// Returns the time in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether a file has this name in a folder.
fn is_still(file: &File, folder: &impl AsFd, name: &OsStr) -> Result<bool> {
    let path = std::path::Path::new(name);
    let open = fstat(file).map_err(Error::io("stat", path))?;
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)),
        Err(Errno::ENOENT) => Ok(false),
        // A disk that fails is no proof that the letter is gone: its states would be removed, and it would be sent again.
        Err(errno) => Err(Error::io("stat", path)(errno)),
    }
}

/// Returns start and length of the runs of numbers in a list.
fn ranges(numbers: &[usize]) -> Vec<(usize, usize)> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((start, length)) if *start + *length == number => *length += 1,
            _ => ranges.push((number, 1)),
        }
    }
    ranges
}

/// A lock of a range of bytes, which need not be there; length 0 is all that follows.
fn range(start: usize, length: usize) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: libc::off_t::try_from(start).unwrap_or(libc::off_t::MAX),
        l_len: libc::off_t::try_from(length).unwrap_or_default(),
        l_pid: 0,
    }
}

fn malformed(path: &std::path::Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::Refused(format!("{}: {error}", path.display())),
        _ => Error::io("read", path)(io::Error::from(error.kind())),
    }
}
