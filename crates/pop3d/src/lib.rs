//! A POP3 server (RFC 1939), one process per client, and its client.
//!
//! Each state of the server is a table of commands: [`protocol::authorization`] (USER PASS APOP
//! AUTH) and [`protocol::transaction`] (STAT LIST RETR DELE NOOP RSET TOP UIDL).
//! [`protocol::Protocol`] looks up a line's command in the table of the state and returns an
//! [`protocol::outcome::Outcome`]. [`session`] reads the lines, checks logins and writes the
//! replies. [`client`] is pop3c.

// The order of the modules; each imports from its left only, and from `options`:
//   protocol | session | client

pub mod client;
pub mod options;
pub mod protocol;
pub mod session;
