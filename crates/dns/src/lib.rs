//! Asks name servers where a domain's mail goes: for its MX, then for the hosts' addresses (slide "the name server is
//! asked for the MX, and then for the address"; RFC 1035, RFC 5321 §5).
//!
//! A stub resolver, which blocks. It sends a question to the servers of resolv.conf(5), or to one that it is given,
//! and leaves the walk from the root to them. The bytes of a message are simple-dns's work.

// The order of the modules; each imports from its left only:
//   domain failure idna tlsa | message resolv_conf | resolver | mail_hosts

mod domain;
mod failure;
mod idna;
mod mail_hosts;
mod message;
mod resolv_conf;
mod resolver;
mod tlsa;

pub use domain::Domain;
pub use failure::{Failure, Result};
pub use idna::to_ascii;
pub use mail_hosts::{MailHost, MailHosts, mail_hosts};
pub use resolver::{Addresses, PORT, Resolver};
pub use tlsa::Tlsa;
