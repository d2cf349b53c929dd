//! Who has a mailbox: the users file, passwords, and logging in with them.
//!
//! Nothing in here knows of mail, so that it can become a crate of its own.

mod login;
pub mod password;
mod users;

pub use login::{Login, log_in, log_in_by_secret};
pub use users::{User, Users};
