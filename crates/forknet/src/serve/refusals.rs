//! What clients are told that are not served, and what the log says of it.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::log::contract;
use crate::log::throttle::Throttle;
use crate::net::peer::Peer;

/// Grace for a slot that is about to be freed: longest wait of a client that is over a limit.
const GRACE: Duration = Duration::from_millis(10);
/// After a vain wait, refuses immediately for this long.
const NO_GRACE: Duration = Duration::from_secs(1);

/// The words for clients that are not served, in the protocol's own language.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies {
    /// A limit is reached.
    pub(crate) busy: Vec<u8>,
    /// There is no process or descriptor.
    pub(crate) unavailable: Vec<u8>,
}

/// Refuses clients.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    replies: Replies,
    throttle: Throttle,
    /// Until then a client over a limit is refused at once.
    no_grace_until: Option<Instant>,
}

impl Refusals {
    pub(crate) fn new(replies: Replies) -> Refusals {
        Refusals { replies, ..Refusals::default() }
    }

    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Logs that a client is not served, within the bound for such lines.
    pub(crate) fn log(&mut self, peer: Peer, why: impl Display) {
        if self.throttle.allows() {
            contract::client_refused(peer, why);
        }
    }

    /// Logs how many of these lines were left out, once it is time; returns how soon to do it again.
    pub(crate) fn log_left_out(&mut self) -> Option<Duration> {
        if let Some(more) = self.throttle.left_out() {
            contract::more_refused(more);
        }
        self.throttle.due_in()
    }

    /// How much longer a client may wait that has come at this instant and seems to be over a limit.
    pub(crate) fn grace(&self, since: Instant) -> Duration {
        let is_hasty = self.no_grace_until.is_some_and(|until| since < until);
        if is_hasty { Duration::ZERO } else { GRACE.saturating_sub(since.elapsed()) }
    }

    /// That client has waited in vain.
    pub(crate) fn grace_failed(&mut self, since: Instant) {
        if self.no_grace_until.is_none_or(|until| since >= until) {
            self.no_grace_until = Some(since + NO_GRACE);
        }
    }
}
