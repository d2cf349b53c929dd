//! The text of a letter in an mbox, read piece by piece, without its quotation marks.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;

use crate::mbox::format::{DECIDING, Quoting};
use crate::mbox::lines::read_at;

/// Size of one read in bytes.
const CHUNK: usize = 32 * 1024;

/// Reads the text of a letter.
#[derive(Debug)]
pub(crate) struct Text {
    file: Arc<File>,
    /// What was not read yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// What was read and not returned yet, in the buffer.
    unused: Range<usize>,
    /// The next byte begins a line.
    is_start: bool,
}

impl Text {
    pub(crate) fn new(file: Arc<File>, text: Range<u64>) -> Text {
        Text { file, rest: text, buffer: vec![0; CHUNK], unused: 0..0, is_start: true }
    }

    /// Reads more after what is not used.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.unused.clone(), 0);
        self.unused = 0..self.unused.len();
        let room = self.buffer.get_mut(self.unused.end..).unwrap_or_default();
        let most = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let room = room.split_at_mut(most.min(room.len())).0;
        let count = read_at(&self.file, room, self.rest.start)?;
        self.unused.end += count;
        self.rest.start += count as u64;
        Ok(())
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.unused.clone()).unwrap_or_default()
    }

    /// Returns how many bytes can be returned before a line that may be quoted, at least one.
    fn plain(&self) -> usize {
        let unused = self.unused();
        let mut from = 0;
        // Only a '>' after an LF can be a quotation mark.
        while let Some(at) = memchr(b'>', unused.get(from..).unwrap_or_default()) {
            let at = from + at;
            if at > 0 && unused.get(at - 1) == Some(&b'\n') {
                return at;
            }
            from = at + 1;
        }
        unused.len()
    }
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // What decides about a line is in the buffer, as far as there is any.
        while self.unused.len() < DECIDING && !self.rest.is_empty() {
            self.fill()?;
        }
        let quoting =
            if self.is_start { Quoting::START.with(self.unused()) } else { Quoting::Plain };
        let most = match quoting {
            Quoting::Quoted => {
                self.unused.start += 1;
                self.plain()
            }
            Quoting::Plain => self.plain(),
            // The letter ends here.
            _ if self.rest.is_empty() => self.unused().len(),
            // It depends on what follows whether one `>` is left out, which can be the last.
            _ => self.unused().iter().take_while(|&&byte| byte == b'>').count() - 1,
        };
        let is_undecided = matches!(quoting, Quoting::Marks { .. } | Quoting::Separator(_));
        let count = most.min(into.len());
        let (taken, _) = self.unused().split_at_checked(count).unwrap_or_default();
        if let Some(to) = into.get_mut(..count) {
            to.copy_from_slice(taken);
        }
        if let Some(&last) = taken.last() {
            self.is_start = is_undecided || last == b'\n';
        }
        self.unused.start += count;
        Ok(count)
    }
}
