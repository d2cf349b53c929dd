//! Maildir, the POP3 maildrop and its lock, users and passwords.
//!
//! Two programs meet here: the SMTP server makes a letter in a [`Maildir`] ([`Draft`],
//! [`Synced`], [`Published`]), the POP3 server lists, reads and removes letters of a [`Maildrop`].
//! Both ask [`Users`] who somebody is and [`MailPattern`] where his mail lies.
#![forbid(unsafe_code)]

mod dirs;
mod error;
mod login;
mod maildir;
mod maildrop;
mod name;
mod owner;
pub mod password;
mod pattern;
mod size;
mod sweep;
mod users;

pub use dirs::durable_create_dir;
pub use error::{Error, Result};
pub use login::{Login, log_in, log_in_by_secret};
pub use maildir::{Draft, Maildir, Published, Synced};
pub use maildrop::{Maildrop, Removal};
pub use owner::{AsOwner, Sharing};
pub use pattern::MailPattern;
pub use size::WireSize;
pub use users::{User, Users};
