//! The log lines of a client's session. Those of a proxy that tells no client are for debugging, because
//! health checks come every second.

use std::fmt::Display;

use crate::error::reason;
use crate::log::contract::{self, Account, Process};
use crate::net::peer::Peer;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};

/// Logs the start of a session.
pub(crate) fn start(peer: Peer, process: Process) {
    if peer.is_proxy() {
        contract::proxy_start(peer, process);
    } else {
        contract::client_start(peer, process);
    }
}

/// Logs the end of a session; `code` is `None` where a signal has ended its process. As no warning if
/// it `is_expected`, whatever the code.
pub(crate) fn end(
    peer: Peer,
    process: Process,
    how: impl Display,
    (code, is_expected): (Option<i32>, bool),
    account: Account,
) {
    let is_ok = is_expected || code == Some(EXIT_OK);
    if peer.is_proxy() && (is_ok || code == Some(EXIT_FAILED)) {
        contract::proxy_end(peer, process, how, account);
    } else {
        contract::client_end(peer, process, how, is_ok, account);
    }
}

/// Logs why a session has failed.
pub(crate) fn failed(peer: Peer, error: &std::io::Error) {
    if peer.is_proxy() {
        log::debug!("client {peer}: {}", reason(error));
    } else {
        contract::client_failed(peer, reason(error));
    }
}
