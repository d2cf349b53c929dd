//! Maildirs that are known to be on the disk.

use sys::statx::Birth;

use crate::maildir::published::Published;

/// Most Maildirs, a number: those beyond are waited for again.
const MAX: usize = 100;

/// Maildirs in which this process has published letters, and waited for all folders: they are on the disk, however
/// young they are.
#[derive(Debug, Default)]
pub struct SafeMaildirs(Vec<Birth>);

impl SafeMaildirs {
    /// Adds the Maildir of a letter that was published.
    pub fn add(&mut self, letter: &Published) {
        let added = letter.parts.birth.filter(|birth| !self.has(*birth));
        self.0.extend(added.filter(|_| self.0.len() < MAX));
    }

    /// Whether the Maildir is known whose `new` was made then.
    pub(super) fn has(&self, birth: Birth) -> bool {
        self.0.contains(&birth)
    }
}
