//! The password field of an account.
//!
//! | field | scheme |
//! | --- | --- |
//! | `$5$…`, `$6$…` | SHA-256 and SHA-512 crypt, as crypt(5) has them, with or without `rounds=` |
//! | `$y$…` | yescrypt, crypt(5), in its usual flavour `j` |
//! | `$argon2id$…` | Argon2id |
//! | `{SCRAM-SHA-256}count,salt,stored,server` | the keys of SCRAM (RFC 5802 §3), in Dovecot's form |
//! | `SCRAM-SHA-256$count:salt$stored:server` | the same, in the form of RFC 5803 §2 |
//! | `{PLAIN}secret` | the secret itself, without a colon: for labs, APOP and CRAM-MD5 |
//!
//! With any other field (`*`, `!`, `x`, an empty one) login is not possible. An empty password is
//! never right.

mod cost;
mod form;
mod hash;
mod scram;
mod stored;

pub use cost::{Cost, Dearest, Scheme};
pub use form::{MAX_PASSWORD, Unusable};
pub use hash::hash;
pub use scram::{Keys, hmac};
pub(crate) use scram::{MAX_ROUNDS, MIN_ROUNDS, client_key, number, salted_password, sha256, xor};
pub use stored::Password;

#[cfg(test)]
mod tests;
