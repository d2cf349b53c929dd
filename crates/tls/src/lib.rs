//! TLS 1.2 and 1.3 by rustls, set up once for servers and clients.
//!
//! The process that talks to clients has no private key: it has [`Chains`], and asks another process, which
//! has the [`Keys`], for each signature ([`Sign`]).

// The order of the modules; each imports from its left only:
//   rows error | pem | keys | chains tickets session dane | server client | identity

mod chains;
mod client;
mod dane;
mod error;
mod identity;
mod keys;
mod pem;
pub mod rows;
mod server;
mod session;
mod tickets;

pub use chains::{Chains, Sign};
pub use client::Client;
pub use error::{Error, Result};
pub use identity::{ServerIdentity, from_options};
pub use keys::{Keys, LONGEST_SIGNATURE, SignatureRequest};
pub use pem::Pair;
pub use server::Server;
pub use session::{Agreed, Session};
pub use tickets::Tickets;
