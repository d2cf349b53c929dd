//! Connects to a filter for the process that talks to a client, which can connect to nothing.

use std::io;
use std::time::Duration;

use forknet::Peer;

use crate::options::Config;
use crate::protocol::question::Verdict;

/// Connects to the filter of this number, hands the connection over, and waits for what is asked next.
///
/// # Errors
/// The process that asks has ended.
pub(super) fn hand_over(
    config: &Config,
    (peer, number): (Peer, u64),
    asked: &mut forknet::Boxes,
    limit: Duration,
) -> io::Result<()> {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let made = config.guards.milters.all.get(number).map(|address| {
        let made = address.connect();
        made.inspect_err(|error| log::warn!("{peer}: milter {address}: {error}")).ok()
    });
    match made.flatten() {
        Some(connection) => asked.ask_back_with(&Verdict::Accepted.encode(), connection, limit),
        None => asked.ask_back(&Verdict::Unusable.encode(), limit),
    }
}
