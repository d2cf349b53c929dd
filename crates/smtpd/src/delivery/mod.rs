//! Delivery of a letter: its text and trace lines in the process that talks to the client; users,
//! mailboxes and Maildirs in those that the keeper forks.

// The order of the modules; each imports from its left only:
//   trace | header author delivered_to text mailbox log_once target order forward shells | users again | directory |
//   expansion | route store | received | append command_line lmtp | program | boxed | workers | queue | outgoing | transaction |
//   deliver verify | answer start keeper letter

mod again;
pub mod answer;
mod append;
pub mod author;
mod boxed;
mod command_line;
mod deliver;
pub mod delivered_to;
mod directory;
mod expansion;
mod filter;
mod forward;
pub mod header;
pub mod keeper;
pub mod letter;
mod lmtp;
mod log_once;
mod mailbox;
mod messages;
pub mod order;
mod outgoing;
mod program;
mod quarantine;
mod queue;
mod received;
pub mod route;
mod shells;
pub mod start;
mod store;
mod target;
pub mod terminal;
pub mod text;
pub mod trace;
mod transaction;
pub mod users;
mod utmp;
mod verify;
mod workers;
