//! What the removal of letters has led to.

use crate::error::Error;

/// The result of removing letters.
#[derive(Debug, Default)]
pub struct Removal {
    /// Number of letters removed, by this or another program.
    pub removed: usize,
    /// The errors of the letters that could not be removed.
    pub failed: Vec<Error>,
    /// Why the removals are not certain to be on the disk, if they are not.
    pub unsynced: Option<Error>,
}
