//! Delivery of a letter: its text and trace lines in the process that talks to the client; users,
//! mailboxes and Maildirs in those that the keeper forks.

// The order of the modules; each imports from its left only:
//   header trace text mailbox users | directory | route store | deliver verify | answer keeper letter

pub mod answer;
mod deliver;
mod directory;
mod filter;
pub mod header;
pub mod keeper;
pub mod letter;
mod mailbox;
pub mod route;
pub mod store;
pub mod terminal;
pub mod text;
pub mod trace;
pub mod users;
mod utmp;
mod verify;
