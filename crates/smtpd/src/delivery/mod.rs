//! Delivery of a letter: recipients, trace lines, and the Maildirs.

// The order of the modules; each imports from its left only:
//   error header space trace | local | letter recipient

pub mod error;
pub mod header;
pub mod letter;
pub mod local;
pub mod recipient;
mod space;
pub mod trace;
