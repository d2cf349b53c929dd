//! The header of a letter (RFC 5322 §2.2), without a socket and without a process: what smtpd and `sendmail` change in it.

// The order of the modules; each imports from its left only:
//   completion | filter

pub mod completion;
pub mod filter;
