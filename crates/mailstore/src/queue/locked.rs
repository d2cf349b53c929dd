//! A letter of the queue in the hands of the process that sends it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::durable_dir::retry_eintr;
use crate::error::{Error, Result};
use crate::queue::envelope::QueueEnvelope;
use crate::queue::parts::{FILE_MODE, Parts};
use crate::queue::state::{self, RecipientState};

/// open(2) flags for a letter: for writing, because of the lock. A FIFO is not waited for.
const LETTER: OFlag =
    OFlag::O_RDWR.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
/// open(2) flags for its states.
const STATE: OFlag = LETTER.union(OFlag::O_CREAT).union(OFlag::O_APPEND);

/// A letter, locked: a record lock (fcntl(2)) of the open file, which ends with the process.
#[derive(Debug)]
pub struct LockedLetter {
    parts: Arc<Parts>,
    name: OsString,
    file: File,
    envelope: QueueEnvelope,
    /// Where the text begins in the file.
    text_at: u64,
    /// Of each recipient.
    states: Vec<RecipientState>,
    /// For which of them the sender was told of the delay.
    warned: Vec<bool>,
}

impl LockedLetter {
    pub(super) fn lock(parts: &Arc<Parts>, name: &OsStr) -> Result<Option<LockedLetter>> {
        if name.is_empty() || name.as_bytes().starts_with(b".") || name.as_bytes().contains(&b'/') {
            return Err(Error::Refused(format!(
                "'{}' is no name of a letter",
                name.as_bytes().escape_ascii()
            )));
        }
        let (letters, path) = (&parts.letters, parts.letters.path().join(name));
        let file = match retry_eintr(|| openat(letters, name, LETTER, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("open", &path)(errno)),
        };
        match retry_eintr(|| fcntl(&file, FcntlArg::F_OFD_SETLK(&WHOLE))) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(Error::InUse { what: path.display().to_string() });
            }
            Err(errno) => return Err(Error::io("lock", &path)(errno)),
        }
        // It may have been removed by the process that had the lock before.
        let inode =
            fstat(&file).map(|it| (it.st_dev, it.st_ino)).map_err(Error::io("stat", &path))?;
        let there = fstatat(letters, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if !there.is_ok_and(|it| (it.st_dev, it.st_ino) == inode) {
            return Ok(None);
        }
        let (envelope, text_at) = QueueEnvelope::read(&mut BufReader::new(&file))
            .map_err(|error| malformed(&path, &error))?;
        let name = name.to_owned();
        let states = vec![RecipientState::Waiting; envelope.recipients.len()];
        let parts = Arc::clone(parts);
        let warned = vec![false; envelope.recipients.len()];
        let mut letter = LockedLetter { parts, name, file, envelope, text_at, states, warned };
        letter.read_states()?;
        Ok(Some(letter))
    }

    fn read_states(&mut self) -> Result<()> {
        let (path, folder) = (self.state_path(), &self.parts.state);
        let file = match retry_eintr(|| openat(folder, self.name(), LETTER, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(Error::io("open", &path)(errno)),
        };
        let states = state::read(&mut BufReader::new(file), self.states.len());
        (self.states, self.warned) = states.map_err(|error| malformed(&path, &error))?;
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

    /// Returns its text, with lines that end in LF, from the first byte. There is one reader at a time, because all
    /// share the offset of the file.
    ///
    /// # Errors
    /// [`Error::Io`] as lseek(2).
    pub fn text(&mut self) -> Result<&mut File> {
        let path = self.path();
        self.file.seek(SeekFrom::Start(self.text_at)).map_err(Error::io("seek in", &path))?;
        Ok(&mut self.file)
    }

    /// Returns whether the sender was told of the delay of a recipient, by its number from 0.
    #[must_use]
    pub fn is_warned(&self, recipient: usize) -> bool {
        self.warned.get(recipient).is_some_and(|&warned| warned)
    }

    /// Notes that the sender was told of the delay of these recipients; it is on the disk when this returns.
    ///
    /// # Errors
    /// As [`LockedLetter::update`].
    pub fn note_warned(&mut self, recipients: &[usize]) -> Result<()> {
        let known = recipients.iter().filter(|&&at| at < self.warned.len());
        let lines: Vec<u8> = known.flat_map(|&at| state::warned_line(now(), at)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        self.append(&lines)?;
        for &at in recipients {
            if let Some(warned) = self.warned.get_mut(at) {
                *warned = true;
            }
        }
        Ok(())
    }

    /// Notes what has become of a recipient, by its number from 0; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] where there is no such recipient.
    pub fn update(&mut self, recipient: usize, new: RecipientState) -> Result<()> {
        if recipient >= self.states.len() {
            let path = self.state_path();
            return Err(Error::Refused(format!("{}: no recipient {recipient}", path.display())));
        }
        self.append(&new.line(now(), recipient))?;
        if let Some(known) = self.states.get_mut(recipient) {
            *known = new;
        }
        Ok(())
    }

    /// Appends lines to the file of states, and waits until they are on the disk.
    fn append(&self, lines: &[u8]) -> Result<()> {
        let (path, folder) = (self.state_path(), &self.parts.state);
        let opened = retry_eintr(|| openat(folder, self.name.as_os_str(), STATE, FILE_MODE));
        let mut file = File::from(opened.map_err(Error::io("open", &path))?);
        let length = whole_lines(&file).map_err(Error::io("read", &path))?;
        let written = file
            .set_len(length) // a line that a crash has cut
            .and_then(|()| file.write_all(lines))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _ = file.set_len(length); // best effort; a cut line does not count
            return Err(Error::io("write to", &path)(error));
        }
        if length == 0 {
            folder.sync()?; // the file may be new
        }
        Ok(())
    }

    /// Removes the letter, whose recipients are all done; it is gone from the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<()> {
        let (letters, name) = (&self.parts.letters, self.name.as_os_str());
        let removed = unlinkat(letters, name, UnlinkatFlags::NoRemoveDir);
        removed.map_err(Error::io("unlink", &self.path()))?;
        letters.sync()?;
        // A state without a letter is swept.
        let _ = unlinkat(&self.parts.state, name, UnlinkatFlags::NoRemoveDir);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.parts.letters.path().join(&self.name)
    }

    fn state_path(&self) -> PathBuf {
        self.parts.state.path().join(&self.name)
    }
}

impl AsFd for LockedLetter {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The lock: of the whole file.
const WHOLE: libc::flock = libc::flock {
    l_type: libc::F_WRLCK as libc::c_short,
    l_whence: libc::SEEK_SET as libc::c_short,
    l_start: 0,
    l_len: 0,
    l_pid: 0,
};

/// Returns the time in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the length of a file up to its last line end.
fn whole_lines(file: &File) -> std::io::Result<u64> {
    let mut length = file.metadata()?.len();
    let mut last = [0];
    while length > 0 {
        std::os::unix::fs::FileExt::read_exact_at(file, &mut last, length - 1)?;
        if last == *b"\n" {
            break;
        }
        length -= 1;
    }
    Ok(length)
}

fn malformed(path: &std::path::Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::InvalidData => Error::Refused(format!("{}: {error}", path.display())),
        _ => Error::io("read", path)(std::io::Error::from(error.kind())),
    }
}
