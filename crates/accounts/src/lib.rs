//! Who may log in, and how that is proved: the users file and the system's accounts, password fields,
//! SASL on both sides.
//!
//! A pure library: it opens files of accounts, and neither sockets nor processes. In a server it lies in
//! two processes. The one that talks to the client takes messages apart ([`sasl::Exchange`]) and asks
//! an [`sasl::Authority`]; the keeper's [`Checker`] is one, and knows the [`Accounts`]. Between them goes
//! what the trait's functions take and return.
//!
//! What is read of other users is wiped before a check returns; what is computed for a failure is the
//! same for every name ([`password::Dearest`]). Failures are counted by [`Guesses`]; accounts from
//! elsewhere come by [`checkpassword`] and [`dovecot_auth`].

// The order of the modules; each imports from its left only:
//   error | secret | encoding names mechanism prepared lines | password | account | users_file system |
//   accounts | challenge | sasl | checker | guesses login_times checkpassword dovecot_auth

mod account;
mod accounts;
mod challenge;
mod checker;
pub mod checkpassword;
pub mod dovecot_auth;
mod encoding;
mod error;
mod guesses;
mod lines;
mod login_times;
mod mechanism;
mod names;
pub mod password;
mod prepared;
pub mod sasl;
mod secret;
mod system;
mod users_file;

pub use account::{Account, Owner};
pub use accounts::{Accounts, Login, Refusal, Source};
pub use challenge::{apop_digest, cram_md5_digest, message_id, message_id_in};
pub use checker::{Checker, Decoy};
pub use encoding::{base64, from_base64, from_hex, hex};
pub use error::{Error, Result};
pub use guesses::{FAILURE_BYTES, Guesses, Turn};
pub use login_times::{LOGIN_BYTES, LoginTimes};
pub use mechanism::{Mechanism, Mechanisms};
pub use names::{MAX_NAME, NameCase, NameDomain, Names};
pub use secret::{Secret, constant_time_eq, random};
pub use system::{Closed, System};
pub use users_file::{Problem, UsersFile};
