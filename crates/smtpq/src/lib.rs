//! smtpq: takes letters out of the queue and sends them to other servers (RFC 5321 §4.5.4.1), one process per
//! destination.

// The order of the modules; each imports from its left only:
//   options | bounce

pub mod bounce;
pub mod options;
