//! A connection that comes from a proxy, and one that must not say so.

use std::io;
use std::time::Duration;

use crate::net::connection::Connection;
use crate::net::deadlines::TurnClock;
use crate::net::proxy_protocol::{self, Guard, Header, Seen};

/// Longest wait for a proxy's header; a TCP retransmission takes 3 seconds (proxy-protocol.txt §2).
const HEADER_WAIT: Duration = Duration::from_secs(10);

impl Connection {
    /// Reads the header of a proxy and not a byte more, within [`HEADER_WAIT`]; `None` when the connection has
    /// ended before the first byte. The client's time and bytes begin after it.
    ///
    /// # Errors
    /// `InvalidData` with the reason for what is no header; those of reading.
    pub(crate) fn read_proxy_header(&mut self) -> io::Result<Option<Header>> {
        let idle = self.idle;
        self.idle = idle.min(HEADER_WAIT);
        let header = proxy_protocol::read(self);
        self.idle = idle;
        self.turn = TurnClock::new(true);
        header
    }

    /// Makes the first read fail that finds the header of a proxy at the beginning of what the client says.
    pub(crate) fn guard_against_proxy(&mut self) {
        self.guard = Some(Guard::new());
    }

    /// Returns true when a read has failed for that reason.
    pub(crate) fn says_proxy(&self) -> bool {
        self.says_proxy
    }

    /// Looks whether the client says PROXY.
    pub(super) fn check_guard(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.guard.as_mut().map(|guard| guard.see(bytes)) {
            None | Some(Seen::Undecided) => Ok(()),
            Some(Seen::NoHeader) => {
                self.guard = None;
                Ok(())
            }
            Some(Seen::Header) => {
                (self.guard, self.says_proxy) = (None, true);
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
    }
}
