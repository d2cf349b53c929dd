//! Who may log in.

mod account;
mod accounts;
mod challenge;
mod checker;
mod encoding;
mod error;
mod lines;
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
pub use mechanism::{Mechanism, Mechanisms};
pub use names::{MAX_NAME, NameCase, NameDomain, Names};
pub use secret::{Secret, constant_time_eq, random};
pub use system::{Closed, System};
pub use users_file::{Problem, UsersFile};
