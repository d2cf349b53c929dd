//! What the mail of an account is fetched with.

use forknet::Stop;

use crate::client::deliver::delivery::Delivery;
use crate::client::listing::Letter;
use crate::client::options::{Fetch, Removal};
use crate::client::seen::Seen;

/// What the mail of an account is fetched with.
pub(crate) struct Fetcher<'f> {
    pub(crate) fetch: &'f Fetch,
    pub(crate) delivery: Box<dyn Delivery>,
    pub(crate) seen: Seen,
    /// Whether a terminal shows the progress.
    pub(crate) shows_progress: bool,
    pub(crate) stop: Stop,
}

impl Fetcher<'_> {
    /// Returns whether an earlier run has stored a message.
    pub(super) fn is_known(&self, letter: &Letter) -> bool {
        letter.id.as_ref().is_some_and(|id| self.seen.contains(id))
    }

    /// Returns whether a message that was stored by an earlier run is to be removed. Of those that share an
    /// id it is not known which is stored, so none is.
    pub(super) fn is_to_go(&self, letter: &Letter) -> bool {
        let age = letter.unique_id().and_then(|id| self.seen.age(id));
        match self.fetch.removal {
            Removal::Never => false,
            Removal::Stored => age.is_some(),
            Removal::After(seconds) => age.is_some_and(|age| age >= seconds),
        }
    }

    /// Returns whether a message is removed once it is stored.
    pub(super) fn removes_stored(&self) -> bool {
        matches!(self.fetch.removal, Removal::Stored | Removal::After(0))
    }
}
