//! An SMTP server (RFC 5321), one process per client, and its client.
//!
//! The server in the order of a letter's way: [`session`] reads lines and writes replies over any
//! stream, [`dialogue`] does the commands, which stand in the table of `commands`, and keeps the
//! state of the transaction ([`address`], [`params`] and [`reply`] are its words), [`recipient`]
//! and [`verify`] ask who somebody is, [`letter`] takes the letter in, [`header`] and [`trace`] see
//! to its first lines, [`delivery`] lays it into the Maildirs. The client is [`client`].
#![forbid(unsafe_code)]

pub mod address;
pub mod client;
mod commands;
pub mod delivery;
pub mod dialogue;
mod envelope;
pub mod header;
pub mod letter;
pub mod options;
pub mod params;
pub mod recipient;
pub mod reply;
pub mod session;
mod space;
pub mod trace;
pub mod verify;

pub use envelope::{Caller, Envelope, Hello};
