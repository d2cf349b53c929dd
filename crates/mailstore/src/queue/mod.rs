//! The outgoing queue: letters that wait for other servers.
//!
//! ```text
//!  DIR/tmp/ID      a letter that is being written
//!  DIR/letters/ID  a letter: its envelope, an empty line, its text with lines that end in LF. Never changed.
//!  DIR/state/ID    what has become of its recipients, a line for each attempt; none before the first
//!  DIR/hold/ID     the letter is not to be sent
//! ```
//! All of it belongs to one user, and to no other. A letter is put in by [`QueueDraft::sync`], which waits for its bytes,
//! and [`QueuedDraft::publish_all`]: rename(2) from `tmp` to `letters`, fsync(2) of `letters`. What sends it has a lock
//! on those of its recipients that it sends to ([`Queue::lock_for`]), which ends with the process; it is removed from `letters`
//! first, so that a crash sends nothing twice that was done.

mod control;
mod draft;
mod envelope;
mod locked;
mod notice;
mod parts;
mod state;
mod store;

pub use control::RunnerLock;
pub use draft::{QueueDraft, QueuedDraft};
pub use envelope::{QueueEnvelope, QueueRecipient};
pub use locked::{LockedLetter, QueuedLetter};
pub use state::{RecipientState, Stage, UnderWay};
pub use store::Queue;

#[cfg(test)]
mod tests;
