//! aliases(5): the file of names that lead elsewhere, and files that it includes. Read again for each
//! question, so that no database has to be made of it.
//!
//! ```text
//! # comment
//! postmaster: root
//! staff:      levy, bob@red.test,
//!             :include:/etc/mail/staff
//! owner-staff: levy
//! archive:    "|/usr/bin/archive -l", /var/mail/archive
//! info@blue.test: bob
//! @green.test: levy
//! ```

// The order of the modules; each imports from its left only:
//   target | file include

mod file;
mod include;
mod target;

pub use file::{Aliases, Found, Problem};
pub use include::{Included, read_include};
pub use target::{AliasTarget, Fault, MAX_TARGETS, targets};
