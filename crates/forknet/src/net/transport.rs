//! The transport of a service, and the endpoints that it allows.

use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;

/// The transport of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP or UNIX-domain streams: every model.
    Stream,
    /// UDP: one process per transfer, no other model.
    Datagram,
    /// Streams, and datagrams in one process besides.
    StreamAndDatagram,
    /// Nothing that comes: the program has work of its own, which it gives to its children.
    Jobs,
}

impl Transport {
    /// Returns the forms of `--listen`.
    pub(crate) fn forms(self) -> &'static str {
        match self {
            Transport::Stream => "HOST:PORT, [V6]:PORT, *:PORT (both families) or unix:PATH",
            Transport::Datagram => "HOST:PORT, [V6]:PORT or *:PORT (both families)",
            Transport::StreamAndDatagram => {
                "HOST:PORT, [V6]:PORT, *:PORT (both families), unix:PATH or unix-dgram:PATH"
            }
            Transport::Jobs => "",
        }
    }

    /// Refuses an endpoint of another transport.
    pub(crate) fn check(self, endpoint: &Endpoint) -> Result<()> {
        let why = match (self, endpoint) {
            (Transport::Datagram, Endpoint::Unix(_) | Endpoint::UnixDatagram(_)) => {
                "this protocol needs UDP"
            }
            (Transport::Stream, Endpoint::UnixDatagram(_)) => {
                "this protocol needs a stream; say unix:PATH"
            }
            _ => return Ok(()),
        };
        Err(Error::Usage(why.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_another_transport_is_refused() {
        let unix: Endpoint = "unix:/x".parse().unwrap();
        let datagrams: Endpoint = "unix-dgram:/x".parse().unwrap();
        let why =
            |transport: Transport, endpoint| transport.check(endpoint).unwrap_err().to_string();
        assert!(why(Transport::Stream, &datagrams).ends_with("needs a stream; say unix:PATH"));
        assert!(why(Transport::Datagram, &datagrams).ends_with("needs UDP"));
        assert!(why(Transport::Datagram, &unix).ends_with("needs UDP"));
        assert!(Transport::StreamAndDatagram.check(&datagrams).is_ok());
        assert!(Transport::Stream.check(&unix).is_ok());
    }
}
