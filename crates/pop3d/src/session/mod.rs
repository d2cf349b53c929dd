//! The session of one client, in two processes.
//!
//! `front` serves strangers: AUTHORIZATION. All that it may do is ask. `mailbox` answers: it checks a
//! login, becomes the user, and takes the client over for TRANSACTION and UPDATE.

// The order of the modules; each imports from its left only: dialogue told | front mailbox

pub mod dialogue;
pub mod front;
pub mod mailbox;
mod told;

pub use front::pop3_session;
pub use mailbox::answer;

#[cfg(test)]
mod tests;
