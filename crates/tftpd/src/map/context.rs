//! The request that the rules are applied to.

use std::net::IpAddr;

use crate::wire::request::Direction;

/// A request, with lookups of its client's hardware address and of files below the root.
pub(super) struct RequestContext<'a> {
    pub(super) direction: Direction,
    /// The client's address.
    pub(super) peer: IpAddr,
    /// Returns the client's hardware address, if known.
    pub(super) hardware_address: &'a dyn Fn() -> Option<String>,
    /// Returns what follows the path of a root at the beginning of a name: the file may be served under that name.
    pub(super) below: &'a dyn Fn(&[u8]) -> Vec<Vec<u8>>,
    /// Returns whether the file exists (RRQ), or the folder for it (WRQ).
    pub(super) exists: &'a dyn Fn(&[u8]) -> bool,
}
