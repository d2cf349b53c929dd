//! mbox: all letters in one file, each after a line that begins with `From `.

// The order of the modules; each imports from its left only:
//   fault format | lines dotlock pending | locks | append index text spool | letter spool_line

pub(crate) mod append;
pub(crate) mod dotlock;
pub(crate) mod fault;
pub(crate) mod format;
pub(crate) mod index;
pub(crate) mod letter;
pub(crate) mod lines;
pub(crate) mod locks;
pub(crate) mod pending;
pub(crate) mod spool;
pub(crate) mod spool_line;
pub(crate) mod text;
