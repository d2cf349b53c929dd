//! A connection that comes from a proxy (`--proxy-from`): its header, and what the parent says of the address
//! that it tells.
//!
//! ```text
//!  parent                        child                          proxy
//!   | accept: not counted yet     |                               |
//!   | fork ---------------------> | <------------ PROXY TCP4 203.0.113.7 ...
//!   | <----- may 203.0.113.7? --- |
//!   | counts it, logs the start   |
//!   | ------ yes ---------------> | the session, as 203.0.113.7
//! ```
//!
//! Only the process that talks to strangers parses the header. Its parent believes one word of each such
//! process, about that process's own client: one that is taken over can count one more client of any address,
//! as if it had come from there, until that process ends.

use std::io;

use crate::error::reason;
use crate::log::contract;
use crate::net::peer::Peer;
use crate::net::proxy_protocol::Header;
use crate::serve::exit_code::{EXIT_FAILED, EXIT_OK};
use crate::serve::permit::Answer;
use crate::serve::session::Conn;

impl Conn {
    /// Reads the header of a connection that comes from a proxy, and takes the address that it tells;
    /// does nothing for other connections, or a second time.
    ///
    /// # Errors
    /// The exit code, where the connection ends here: there is no header, or the address is over a limit.
    pub(crate) fn read_proxy(&mut self) -> Result<(), i32> {
        if !self.take_awaits_header() {
            return Ok(());
        }
        let proxy = self.peer();
        self.show_peer();
        let why = match self.connection().read_proxy_header() {
            // A proxy of version 1 that checks whether the server lives tells its own address (§2.1).
            Ok(Some(Header::Client(address))) if proxy != Peer::Proxy(Some(address)) => {
                self.set_peer(Peer::Told(address));
                return self.ask_parent();
            }
            Ok(Some(Header::Nothing | Header::Client(_))) => {
                drop(self.take_permit()); // there is nothing to ask
                return Ok(());
            }
            Ok(None) => None,
            Err(error) if is_quiet(error.kind()) => None,
            Err(error) => Some(match error.kind() {
                io::ErrorKind::InvalidData => error.to_string(),
                io::ErrorKind::UnexpectedEof => "the PROXY header is cut off".into(),
                _ => format!("PROXY header: {}", reason(&error)),
            }),
        };
        let Some(why) = why else {
            log::debug!("client {proxy}: no PROXY header, the connection has ended");
            return Err(EXIT_OK);
        };
        contract::client_refused(proxy, why);
        self.refuse(&self.replies().denied);
        Err(EXIT_FAILED)
    }

    /// Asks the parent whether the client may be served, where the parent counts clients.
    fn ask_parent(&mut self) -> Result<(), i32> {
        let Some(permit) = self.take_permit() else { return Ok(()) };
        let replies = self.replies();
        match permit.may_serve(self.peer()) {
            Ok(Answer::Yes) => return Ok(()),
            Ok(Answer::PerAddress | Answer::TooOften) => self.refuse(&replies.busy), // it has a log line
            Err(error) => {
                contract::client_refused(self.peer(), reason(&error)); // the server ends
                self.refuse(&replies.unavailable);
            }
        }
        Err(EXIT_OK)
    }
}

/// Returns true for ends of a connection that a health check makes, and for the end of the server.
fn is_quiet(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}
