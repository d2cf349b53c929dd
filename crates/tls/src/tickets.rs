//! Session tickets that each process of a server takes, whichever has given them.

use std::sync::Arc;

use rustls::crypto::ring::Ticketer;
use rustls::server::ProducesTickets;

use crate::error::{Error, Result};

/// rustls' ticketer takes no ticket that is longer than the longest it has given. A process that has given
/// none would refuse the tickets of all others, so one of this length is made before the first fork.
const LONGER_THAN_ANY: usize = 512;

/// The keys of tickets, which the parent makes and changes before it forks.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Tickets> {
        let tickets = Ticketer::new().map_err(|error| Error::new("TLS tickets", error))?;
        let tickets = Tickets(tickets);
        tickets.roll();
        Ok(tickets)
    }

    /// Changes the keys when they are older than their lifetime, six hours. Tickets by the last ones stay
    /// valid for six hours more. For the parent, from time to time.
    pub fn roll(&self) {
        let _ = self.0.encrypt(&[0; LONGER_THAN_ANY]); // makes new ones first, where their time has come
    }

    pub(crate) fn ticketer(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.0)
    }
}
