//! An mbox whose locks and whose files another process has: it may make files in the folder of the mbox, and
//! sees no byte of a letter; this one reads letters, and may open nothing.
//!
//! ```text
//!  session                     spool
//!   | b ----------------------> |   take the session's lock
//!   | l, time ----------------> |   lock the mbox
//!   | <------------- k, file    |   it, open for reading
//!   | n ----------------------> |   make the next file
//!   | <------------- k, file    |   it, open for writing
//!   | c ----------------------> |   put it in the place of the mbox
//!   | s ----------------------> |   wait until that is on the disk
//!   | u ----------------------> |   unlock
//!   | w, the file before -----> |   whether another process may still append to that
//!   | a ----------------------> |   the mbox, open to append to; it is locked
//!   | e ----------------------> |   give back all locks, and end
//! ```
//!
//! Each message is answered: `k`, with a file where there is one; or why not. When the session's process ends
//! without a word, the other one does the same.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use sys::scm_rights::{receive, send};

use crate::error::{Error, Result};
use crate::mbox::spool::Spool;

/// First bytes of the messages.
const BEGIN: u8 = b'b';
const LOCK: u8 = b'l';
const UNLOCK: u8 = b'u';
const DRAFT: u8 = b'n';
const COMMIT: u8 = b'c';
const SYNC: u8 = b's';
const APPEND: u8 = b'a';
const IS_WRITTEN: u8 = b'w';
const END: u8 = b'e';
/// First bytes of the answers: done; the other answer to a question; why not.
const OK: u8 = b'k';
const NO: u8 = b'o';
const IN_USE: u8 = b'i';
const REFUSED: u8 = b'r';
const TEMPORARY: u8 = b't';
const FAILED: u8 = b'e';
/// Longest message in bytes: an error with a path.
const LONGEST: usize = 8 * 1024;
/// Longest wait for an answer in seconds: the longest for a lock, and a slow disk.
const LONGEST_WAIT: i64 = 120;

/// What serves an mbox: this process, or another one.
#[derive(Debug)]
pub enum SpoolAt {
    /// This process.
    Here(Box<Spool>),
    /// The process at the other end of a line.
    There(SpoolLine),
}

/// The line to a process that [`serve`]s an mbox.
#[derive(Debug)]
pub struct SpoolLine {
    line: OwnedFd,
    path: PathBuf,
}

impl SpoolLine {
    /// Of the mbox with this path, which is for messages.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn new(line: OwnedFd, path: &Path) -> Result<SpoolLine> {
        let limit = TimeVal::seconds(LONGEST_WAIT);
        setsockopt(&line, sockopt::ReceiveTimeout, &limit).map_err(Error::io("ask", path))?;
        Ok(SpoolLine { line, path: path.to_owned() })
    }

    /// Sends a message; returns the answer's first byte, and the file that comes with it.
    fn ask(&self, message: &[u8], with: Option<&File>) -> Result<(u8, Option<File>)> {
        let failed = |errno| Error::io("ask the process that locks", &self.path)(errno);
        send(&self.line, message, with.map(AsFd::as_fd)).map_err(failed)?;
        let mut answer = [0; LONGEST];
        let (length, file) = receive(&self.line, &mut answer).map_err(failed)?;
        let answer = answer.get(..length).unwrap_or_default();
        let (&kind, rest) = answer.split_first().ok_or(Errno::EPIPE).map_err(failed)?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            OK | NO => Ok((kind, file.map(File::from))),
            IN_USE => Err(Error::InUse { what: text() }),
            REFUSED => Err(Error::Refused(text())),
            TEMPORARY => Err(Error::Temporary(text())),
            FAILED => {
                let (errno, what) =
                    rest.split_first_chunk().ok_or(Errno::EPROTO).map_err(failed)?;
                let source = io::Error::from_raw_os_error(i32::from_be_bytes(*errno));
                Err(Error::Io { what: String::from_utf8_lossy(what).into_owned(), source })
            }
            _ => Err(failed(Errno::EPROTO)),
        }
    }

    fn ask_file(&self, message: &[u8]) -> Result<File> {
        let file = self.ask(message, None)?.1.ok_or(Errno::EPROTO);
        file.map_err(Error::io("ask the process that locks", &self.path))
    }
}

impl Drop for SpoolLine {
    /// Waits until all is given back: before the client reads the last reply, and begins another session.
    fn drop(&mut self) {
        if let Err(error) = self.ask(&[END], None) {
            log::debug!("{error}"); // it has ended already
        }
    }
}

impl SpoolAt {
    /// As [`Spool::path`].
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            SpoolAt::Here(spool) => spool.path(),
            SpoolAt::There(line) => &line.path,
        }
    }

    /// As [`Spool::begin`].
    ///
    /// # Errors
    /// As [`Spool::begin`]; the other process does not answer.
    pub fn begin(&mut self) -> Result<()> {
        match self {
            SpoolAt::Here(spool) => spool.begin(),
            SpoolAt::There(line) => line.ask(&[BEGIN], None).map(drop),
        }
    }

    /// As [`Spool::lock`].
    ///
    /// # Errors
    /// As [`Spool::lock`]; the other process does not answer.
    pub fn lock(&mut self, limit: Duration) -> Result<Option<File>> {
        match self {
            SpoolAt::Here(spool) => spool.lock(limit),
            SpoolAt::There(line) => {
                let limit = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
                let message = [&[LOCK], &limit.to_be_bytes()[..]].concat();
                Ok(line.ask(&message, None)?.1)
            }
        }
    }

    /// As [`Spool::unlock`].
    pub fn unlock(&mut self) {
        match self {
            SpoolAt::Here(spool) => spool.unlock(),
            SpoolAt::There(line) => {
                if let Err(error) = line.ask(&[UNLOCK], None) {
                    log::warn!("{error}");
                }
            }
        }
    }

    /// As [`Spool::draft`].
    ///
    /// # Errors
    /// As [`Spool::draft`]; the other process does not answer.
    pub fn draft(&mut self) -> Result<File> {
        match self {
            SpoolAt::Here(spool) => spool.draft(),
            SpoolAt::There(line) => line.ask_file(&[DRAFT]),
        }
    }

    /// As [`Spool::commit`].
    ///
    /// # Errors
    /// As [`Spool::commit`]; the other process does not answer.
    pub fn commit(&mut self) -> Result<()> {
        match self {
            SpoolAt::Here(spool) => spool.commit(),
            SpoolAt::There(line) => line.ask(&[COMMIT], None).map(drop),
        }
    }

    /// As [`Spool::sync`].
    ///
    /// # Errors
    /// As [`Spool::sync`]; the other process does not answer.
    pub fn sync(&self) -> Result<()> {
        match self {
            SpoolAt::Here(spool) => spool.sync(),
            SpoolAt::There(line) => line.ask(&[SYNC], None).map(drop),
        }
    }

    /// As [`Spool::append`].
    ///
    /// # Errors
    /// As [`Spool::append`]; the other process does not answer.
    pub fn append(&mut self) -> Result<File> {
        match self {
            SpoolAt::Here(spool) => spool.append(),
            SpoolAt::There(line) => line.ask_file(&[APPEND]),
        }
    }

    /// As [`Spool::is_written`].
    ///
    /// # Errors
    /// The other process does not answer.
    pub fn is_written(&self, file: &File) -> Result<bool> {
        match self {
            SpoolAt::Here(spool) => Ok(spool.is_written(file)),
            SpoolAt::There(line) => Ok(line.ask(&[IS_WRITTEN], Some(file))?.0 == OK),
        }
    }
}

/// Serves an mbox over a line, until its other end is closed; or says why not, to the first message.
pub fn serve(spool: Result<Spool>, line: &OwnedFd) {
    let mut spool = match spool {
        Ok(spool) => spool,
        Err(error) => {
            let answer = encode(&error);
            if receive(line, &mut [0]).is_ok_and(|(length, _)| length > 0) {
                let _ = send(line, &answer, None); // the other end may be closed
            }
            return;
        }
    };
    let mut message = [0; LONGEST];
    loop {
        let received = receive(line, &mut message);
        let Ok((length @ 1.., with)) = received else { return };
        let message = message.get(..length).unwrap_or_default();
        let (answer, file) = match answer(&mut spool, message, with) {
            Ok((kind, file)) => (vec![kind], file),
            Err(error) => (encode(&error), None),
        };
        if send(line, &answer, file.as_ref().map(AsFd::as_fd)).is_err() {
            return;
        }
        if message == [END] {
            return;
        }
    }
}

fn answer(spool: &mut Spool, message: &[u8], with: Option<OwnedFd>) -> Result<(u8, Option<File>)> {
    match message {
        [BEGIN] => spool.begin().map(|()| (OK, None)),
        [LOCK, high, low] => {
            let limit = Duration::from_millis(u16::from_be_bytes([*high, *low]).into());
            Ok((OK, spool.lock(limit)?))
        }
        [END] => {
            spool.end();
            Ok((OK, None))
        }
        [UNLOCK] => {
            spool.unlock();
            Ok((OK, None))
        }
        [DRAFT] => Ok((OK, Some(spool.draft()?))),
        [COMMIT] => spool.commit().map(|()| (OK, None)),
        [SYNC] => spool.sync().map(|()| (OK, None)),
        [APPEND] => Ok((OK, Some(spool.append()?))),
        [IS_WRITTEN] => {
            let file = with.ok_or_else(|| Error::Refused("a file is missing".into()))?;
            let is_written = spool.is_written(&File::from(file));
            Ok((if is_written { OK } else { NO }, None))
        }
        _ => Err(Error::Refused("a message that is none".into())),
    }
}

fn encode(error: &Error) -> Vec<u8> {
    let (kind, text) = match error {
        Error::Io { what, source } => {
            let errno = source.raw_os_error().unwrap_or(nix::libc::EIO);
            return [&[FAILED], &errno.to_be_bytes()[..], what.as_bytes()].concat();
        }
        Error::InUse { what } => (IN_USE, what),
        Error::Refused(why) => (REFUSED, why),
        Error::Temporary(why) => (TEMPORARY, why),
    };
    [&[kind], text.as_bytes()].concat()
}
