//! An SMTP server (RFC 5321), one process per client, and its client.
//!
//! [`session`] reads lines and writes replies over any stream. [`protocol`] looks up a line's
//! command in a table, checks that the state allows it, and keeps the state of the transaction.
//! [`header`] is what is changed in a letter's header. [`delivery`] finds the recipients, receives
//! the letter, adds its trace lines, and stores it in the Maildirs. [`client`] is smtpc, [`sendmail`]
//! the same program under its old name.

// The order of the modules; each imports from its left only, and from `options`, which imports `duplicates`:
//   protocol outbox | header | milter | delivery | session | client | sendmail

pub mod client;
pub mod delivery;
pub mod duplicates;
pub mod header;
pub mod milter;
pub mod options;
mod outbox;
pub mod protocol;
pub mod sendmail;
pub mod session;
