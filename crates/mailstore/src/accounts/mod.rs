//! Accounts with a mailbox: the users file, passwords, and logins.
//!
//! This module is independent of mail, so that it can become a crate of its own.

mod login;
pub mod password;
mod users;

pub use login::{Login, log_in, log_in_by_secret};
pub use users::{User, Users};
