//! Replies to refused clients, and their log lines.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::log::contract;
use crate::log::throttle::Throttle;
use crate::net::peer::Peer;
use crate::serve::start_lines::StartLines;

/// Grace for a slot that is about to be freed: longest wait of a client that is over a limit.
const GRACE: Duration = Duration::from_millis(10);
/// Time without grace after a wait without success.
const NO_GRACE: Duration = Duration::from_secs(1);

/// The replies to refused clients, in the words of the protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies {
    /// The reply when a limit is reached.
    pub(crate) busy: Vec<u8>,
    /// The reply without a process or descriptor.
    pub(crate) unavailable: Vec<u8>,
    /// The reply to one that says PROXY and may not, or must and does not.
    pub(crate) denied: Vec<u8>,
}

/// Refuses clients.
#[derive(Debug)]
pub(crate) struct Refusals {
    replies: Replies,
    throttle: Throttle,
    /// Of clients that gave way.
    gave_way: Throttle,
    /// Of requests that were refused by the protocol, or whose clients have proved no address.
    unproven: Throttle,
    /// Of datagrams that are no requests.
    not_requests: Throttle,
    /// Of processes that answer datagrams.
    start_lines: StartLines,
    /// Until then a client over a limit is refused immediately.
    no_grace_until: Option<Instant>,
}

impl Refusals {
    /// Makes the rates of a server with at most this many clients.
    ///
    /// # Errors
    /// mmap(2) fails.
    pub(crate) fn new(replies: Replies, max_clients: usize) -> Result<Refusals> {
        Ok(Refusals {
            replies,
            throttle: Throttle::default(),
            gave_way: Throttle::default(),
            unproven: Throttle::default(),
            not_requests: Throttle::default(),
            start_lines: StartLines::new(max_clients)?,
            no_grace_until: None,
        })
    }

    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Logs that a client is refused, within the rate of such lines.
    pub(crate) fn log(&mut self, peer: Peer, why: impl Display) {
        if self.throttle.allows() {
            contract::client_refused(peer, why);
        }
    }

    /// Logs that the process of a client was ended in favour of another, within the rate of such lines.
    pub(crate) fn log_gave_way(&mut self, peer: Peer, pid: i32, how: &str) {
        if self.gave_way.allows() {
            contract::client_gave_way(peer, pid, how);
        }
    }

    /// Logs the numbers of lines that were left out, once the period is over; returns the time until
    /// the next call.
    pub(crate) fn log_left_out(&mut self) -> Option<Duration> {
        if let Some(more) = self.throttle.left_out() {
            contract::more_refused(more);
        }
        if let Some(more) = self.gave_way.left_out() {
            contract::more_gave_way(more);
        }
        for more in [self.unproven.left_out(), self.start_lines.left_out()].into_iter().flatten() {
            contract::more_unproven(more);
        }
        if let Some(more) = self.not_requests.left_out() {
            contract::more_not_requests(more);
        }
        let throttles = [&self.throttle, &self.gave_way, &self.unproven, &self.not_requests];
        let due = throttles.into_iter().map(Throttle::due_in);
        due.chain([self.start_lines.due_in()]).flatten().min()
    }

    /// Returns whether a line about a request may be written that was refused by the protocol, or whose client has
    /// proved no address; counts it otherwise.
    pub(crate) fn allows_unproven(&mut self) -> bool {
        self.unproven.allows()
    }

    /// Logs a datagram that is no request, within the rate of such lines.
    pub(crate) fn log_not_a_request(&mut self, peer: Peer, length: usize) {
        if log::log_enabled!(log::Level::Debug) && self.not_requests.allows() {
            contract::not_a_request(peer, length);
        }
    }

    /// The lines of processes that answer datagrams.
    pub(crate) fn start_lines(&mut self) -> &mut StartLines {
        &mut self.start_lines
    }

    /// Returns the grace left for a client over a limit that came at this instant.
    pub(crate) fn grace(&self, since: Instant) -> Duration {
        let is_hasty = self.no_grace_until.is_some_and(|until| since < until);
        if is_hasty { Duration::ZERO } else { GRACE.saturating_sub(since.elapsed()) }
    }

    /// Notes that the grace of this client has passed without success.
    pub(crate) fn grace_failed(&mut self, since: Instant) {
        if self.no_grace_until.is_none_or(|until| since >= until) {
            self.no_grace_until = Some(since + NO_GRACE);
        }
    }
}
