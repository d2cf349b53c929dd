//! What a fetch has done, for the line that it prints.

use std::fmt;

use crate::client::listing::Letter;
use crate::client::status::Failure;

/// Counts of letters.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) stored: usize,
    /// The size of those that are stored, with CRLF line ends.
    pub(crate) octets: u64,
    pub(crate) known: usize,
    /// Marked by DELE; removed once the server has answered QUIT.
    pub(crate) marked: usize,
    pub(crate) is_removed: bool,
    /// Left on the server by a filter.
    pub(crate) filtered: usize,
    /// Left on the server because something failed.
    pub(crate) failed: usize,
    /// The first failure of a letter.
    pub(crate) first: Option<Failure>,
    /// With `--check`, how many are new, and their sizes where the server tells them.
    new: Option<(usize, u64)>,
}

impl Summary {
    /// Counts what is new instead of storing it.
    pub(crate) fn check(&mut self, new: &[Letter]) {
        let sizes = new.iter().filter_map(|letter| letter.size);
        self.new = Some((new.len(), sizes.fold(0, u64::saturating_add)));
    }

    /// Counts a letter that stays on the server.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        self.first.get_or_insert(failure);
    }

    /// Returns the failure of the letters, if there is one.
    pub(crate) fn failure(&mut self) -> Option<Failure> {
        let first = self.first.take()?;
        Some(match self.failed {
            1 => first,
            count => first.and_more(count - 1),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { stored, octets, known, filtered, failed, .. } = self;
        match self.new {
            Some((count, octets)) => write!(f, "{count} new ({octets} octets), {known} known")?,
            None => {
                let deleted = if self.is_removed { self.marked } else { 0 };
                write!(f, "{stored} new ({octets} octets), {known} known, ")?;
                write!(f, "{deleted} deleted on the server")?;
            }
        }
        if *filtered > 0 {
            write!(f, ", {filtered} left by the filters")?;
        }
        if *failed > 0 {
            write!(f, ", {failed} failed")?;
        }
        Ok(())
    }
}
