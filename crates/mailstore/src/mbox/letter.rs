//! A letter in an mbox, read while other programs may change the file.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::mbox::index::{Letter, MboxIds, index};
use crate::mbox::text::Text;

/// Age of a file's last change in nanoseconds from which a later change shows in its times.
const CLOCK_TICK: i128 = 50_000_000;

/// The state of a file whose letters are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) inode: (u64, u64),
    pub(crate) size: u64,
    /// Of the last change, and of that of the inode.
    times: [(i64, i64); 2],
    /// A change soon after would not show in the times.
    is_recent: bool,
}

impl Known {
    pub(crate) fn of(file: &File) -> io::Result<Known> {
        let meta = file.metadata()?;
        let changed = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
        Ok(Known {
            inode: (meta.dev(), meta.ino()),
            size: meta.len(),
            times: [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())],
            is_recent: (now - changed).abs() < CLOCK_TICK,
        })
    }

    /// Returns whether the file is as it was then.
    pub(crate) fn is_unchanged(&self, now: &Known) -> bool {
        !self.is_recent && (self.inode, self.size, self.times) == (now.inode, now.size, now.times)
    }
}

/// The text of a letter. That the file has not changed meanwhile is seen at its end.
#[derive(Debug)]
pub(crate) struct MboxText {
    file: Arc<File>,
    path: PathBuf,
    /// What the file was at the begin.
    known: Known,
    letter: Letter,
    /// The letter with its separator.
    part: Range<u64>,
    text: Text,
}

impl MboxText {
    /// Opens a letter. Where the file is not as it was `known`, the letter is looked at again.
    ///
    /// # Errors
    /// [`Error::Temporary`] where another program has changed it; [`Error::Io`].
    pub(crate) fn open(
        (file, path): (Arc<File>, &Path),
        known: &Known,
        letter: Letter,
        part: Range<u64>,
    ) -> Result<MboxText> {
        let now = Known::of(&file).map_err(Error::io("stat", path))?;
        let text = Text::new(file.clone(), letter.text.clone());
        let is_unchanged = known.is_unchanged(&now);
        let (path, known) = (path.to_owned(), Known { is_recent: false, ..now });
        let text = MboxText { file, path, known, letter, part, text };
        if !is_unchanged {
            text.check()?;
        }
        Ok(text)
    }

    /// Checks that the letter is there still.
    fn check(&self) -> Result<()> {
        let found = index((&self.file, &self.path), self.part.clone(), MboxIds::Content);
        match &found {
            Ok(found) if matches!(found.as_slice(), [it] if it.is_same(&self.letter)) => Ok(()),
            // A file that has become shorter has changed.
            Err(error) if error.kind().is_some_and(|it| it != ErrorKind::UnexpectedEof) => {
                found.map(drop)
            }
            _ => {
                let why = "another program has changed it during the session";
                Err(Error::Temporary(format!("{}: {why}", self.path.display())))
            }
        }
    }
}

impl io::Read for MboxText {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(into)?;
        if count == 0 && !into.is_empty() && !self.known.is_unchanged(&Known::of(&self.file)?) {
            self.check().map_err(|error| match error {
                Error::Io { source, .. } => source,
                changed => io::Error::other(changed),
            })?;
        }
        Ok(count)
    }
}
