//! What the mail daemons share: the options of accounts, the questions that the process that talks to a
//! client asks the keeper about a login, the check of them, and whose a mailbox is and where.

// The order of the modules; each imports from its left only:
//   rows credentials | auth_socket check_program | token | options | question hash guessing login_delay |
//   check rights client | mailbox spool front

mod auth_socket;
mod check;
mod check_program;
pub mod client;
mod credentials;
mod front;
mod guessing;
pub mod hash;
mod login_delay;
mod mailbox;
mod options;
mod question;
mod rights;
pub mod rows;
mod spool;
mod token;

pub use check::{Answering, Proved, Said, prove, prove_from};
pub use check_program::{is_report, report};
pub use credentials::{Credentials, Denied, Mechanism, Proof};
pub use front::{Accepted, Asker, Auth, AuthFailure, AuthStep, Keeper, Reply};
pub use mailbox::Place;
pub use options::{Logins, MailOptions, Offer, Plaintext, Users};
pub use question::{LoginQuestion, accepted, accepted_with_token};
pub use rights::Trouble;
