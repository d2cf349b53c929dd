//! Maildirs that are known to be on the disk.

use std::sync::Arc;

use nix::sys::stat::fstat;

use crate::folder::Folder;
use crate::maildir::parts::Parts;
use crate::maildir::published::Published;

/// Most Maildirs, a number, with four descriptors each: those beyond are waited for again.
const MAX: usize = 16;

/// Maildirs in which this process has published letters, and waited for all folders: they are on the disk, however
/// young they are. They stay open: while they do, no other folder has the number of one.
#[derive(Debug, Default)]
pub struct SafeMaildirs(Vec<Arc<Parts>>);

impl SafeMaildirs {
    /// Adds the Maildir of a letter that was published.
    pub fn add(&mut self, letter: &Published) {
        if self.0.len() < MAX && !self.has(&letter.parts.new) {
            self.0.push(Arc::clone(&letter.parts));
        }
    }

    /// Returns whether this is the `new` of one of them.
    pub(super) fn has(&self, new: &Folder) -> bool {
        let number = |folder: &Folder| fstat(folder).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        let wanted = if self.0.is_empty() { None } else { number(new) };
        wanted.is_some() && self.0.iter().any(|known| number(&known.new) == wanted)
    }
}
