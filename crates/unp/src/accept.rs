//! Slide "TCP Echo Server": `connfd = Accept(listenfd, (SA *) &cliaddr, &clilen)`.

use std::os::fd::{AsFd, OwnedFd};

use forknet::Peer;

/// accept(2): returns the connected socket, and the client's address, which nix's call does not give.
/// It blocks, and a signal whose handler does not restart it ends it with EINTR (the standard
/// library's `accept` would hide that).
///
/// # Errors
/// As accept(2).
pub fn accept(listenfd: &impl AsFd) -> nix::Result<(OwnedFd, Peer)> {
    sys::socket::accept(listenfd).map(|(connfd, cliaddr)| (connfd, Peer::from(cliaddr)))
}
