//! What the mail daemons share: the options of accounts, the questions that the process that talks to a
//! client asks the keeper about a login, the check of them, and whose a mailbox is and where.

// The order of the modules; each imports from its left only:
//   rows credentials | options | question hash | check rights | mailbox

mod check;
mod credentials;
pub mod hash;
mod mailbox;
mod options;
mod question;
mod rights;
pub mod rows;

pub use check::{Refused, check};
pub use credentials::{Credentials, Denied, Mechanism, Proof};
pub use mailbox::Place;
pub use options::{MailOptions, Offer, Plaintext, Users};
pub use question::{ACCEPTED, LoginQuestion};
pub use rights::Trouble;
