//! Filters that speak the milter protocol, version 6, as libmilter and rspamd do: `--milter`.
//!
//! A connection for each session, which a process of the keeper's has made, because this one can make none. Here
//! is the protocol over any stream.

// The order of the modules; each imports from its left only:
//   packet answer | header | connection | filters | filtered

pub mod answer;
pub mod connection;
pub mod filtered;
pub mod filters;
pub mod header;
pub mod packet;
