//! A POP3 server (RFC 1939), one process per client, and its client.
//!
//! The server's states are tables of commands: [`authorization`] (USER PASS APOP AUTH)
//! and [`transaction`] (STAT LIST RETR DELE NOOP RSET TOP UIDL); [`protocol`] goes from one to the
//! other and into UPDATE. They take a line and give an [`protocol::Outcome`]; [`session`] does the
//! reading and writing. The client's half is [`client`].
#![forbid(unsafe_code)]

pub mod apop;
pub mod authorization;
pub mod client;
pub mod command;
pub mod options;
pub mod protocol;
pub mod reply;
pub mod sasl;
pub mod session;
pub mod top;
pub mod transaction;

/// What the client says about itself, and CAPA about the server (RFC 2449 §6.9).
pub const IMPLEMENTATION: &str = concat!("forklore-pop3d-", env!("CARGO_PKG_VERSION"));
