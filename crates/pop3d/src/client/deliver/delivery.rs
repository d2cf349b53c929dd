//! What every place for letters does.

use std::ffi::OsString;

use crate::client::status::Result;

/// What is called for each letter that was handed over, with its number in the batch and how that went.
pub(crate) type Told<'a> = &'a mut dyn FnMut(usize, Result<()>) -> Result<()>;

/// A place that takes letters, in batches.
///
/// An error of these functions, other than one that [`Delivery::commit`] tells of one letter, means that no
/// further letter can be stored.
pub(crate) trait Delivery {
    /// Returns how many letters may wait for [`Delivery::commit`].
    fn batch(&self) -> usize {
        100
    }

    /// Is called before the first letter is asked for.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Begins a letter.
    fn begin(&mut self) -> Result<()>;

    /// Adds a piece of it, with lines that end in LF.
    fn write(&mut self, piece: &[u8]) -> Result<()>;

    /// Ends it. It waits for [`Delivery::commit`].
    fn end(&mut self) -> Result<()>;

    /// Makes the waiting letters safe, as far as that is done before they are visible. Returns the names
    /// that they will have, where they are files.
    fn sync(&mut self) -> Result<Vec<OsString>> {
        Ok(Vec::new())
    }

    /// Hands the waiting letters over, and tells of each as soon as it is safe, or refused. Those that it does
    /// not tell of are not stored.
    fn commit(&mut self, told: Told<'_>) -> Result<()>;
}
