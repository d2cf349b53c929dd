//! SASL (RFC 4422): the exchange of messages by which a client proves who it is, as state machines
//! that do no input or output.
//!
//! Protocols send each message as a line of base64: [`decode_initial`] and [`decode`] read one,
//! [`crate::base64`] writes one. `*`, by which a client cancels (RFC 5034 §4, RFC 4954 §4), is for the
//! caller: it drops the exchange.
//!
//! ```text
//!  client               front: Exchange             keeper: Checker (an Authority)
//!  AUTH SCRAM-SHA-256 -> start ------ name, nonce --> salt, iterations, the rest of the nonce
//!                     <- Challenge <-----------------
//!  proof              -> step ------- messages -----> StoredKey: is it right?
//!                     <- Challenge <--- signature ---
//!  (empty)            -> step: Done
//! ```

mod binding;
mod client;
mod message;
mod server;

pub use binding::{Binding, Bindings};
pub use client::{Client, ClientError, Server, choose};
pub(crate) use message::{auth_message, server_first};
pub use server::{Authority, Denial, Exchange, Failure, Identity, Step, Terms, claimed_name};

use crate::encoding::from_base64;
use crate::secret::Secret;

/// Longest line of an exchange in bytes, its CRLF included: room for a proof of SCRAM with a long name and
/// a channel binding, and for PLAIN's three fields of 255 octets (RFC 4616 §2).
pub const MAX_LINE: usize = 2048;

/// Decodes the response that came with the command: `=` is an empty one (RFC 5034 §4, RFC 4954 §4).
#[must_use]
pub fn decode_initial(text: &[u8]) -> Option<Secret> {
    if text == b"=" {
        Some(Secret::default())
    } else {
        decode(text).filter(|text| !text.is_empty())
    }
}

/// Decodes a response, or a challenge: an empty line is an empty one.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Secret> {
    if text.len() > MAX_LINE { None } else { from_base64(text) }
}

#[cfg(test)]
mod tests;
