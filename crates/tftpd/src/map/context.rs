//! What the rules know about a request.

use std::net::IpAddr;

use crate::wire::request::Direction;

/// A request, and the questions that rules may ask about its client and the root.
pub(super) struct RequestContext<'a> {
    pub(super) direction: Direction,
    /// The client's address.
    pub(super) peer: IpAddr,
    /// Returns the client's hardware address, where it is known.
    pub(super) hardware_address: &'a dyn Fn() -> Option<String>,
    /// For an RRQ: there is a file of this name. For a WRQ: there is a folder for it.
    pub(super) exists: &'a dyn Fn(&[u8]) -> bool,
}
