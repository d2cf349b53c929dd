//! Opens the sockets of the endpoints: names with several addresses, and one port for all sockets
//! of an endpoint.

use std::time::Duration;

use log::warn;
use nix::errno::Errno;
use nix::sys::socket::SockType;

use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;
use crate::net::listener::{Listener, Queue, bound};

/// Most ports that are tried when the one that the kernel chose for one socket is taken for the
/// next.
const PORT_TRIES: usize = 64;
/// Tries of bind for a port in use, and the pause between them, because the processes of a server
/// that was killed hold its port a moment longer.
const BIND_TRIES: u32 = 10;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// Opens bound UDP sockets, closed on exec, in the order of the endpoints, one for each address of
/// a name.
pub(crate) fn datagrams(endpoints: &[Endpoint]) -> Result<Vec<Listener>> {
    open_all(endpoints, &[SockType::Datagram], Queue::NONE)
}

/// Opens listening sockets, non-blocking, and bound datagram sockets: those of `unix-dgram:`, and
/// with `udp` one for each TCP socket, on the same address and port.
pub(crate) fn streams_and_datagrams(
    endpoints: &[Endpoint],
    queue: Queue,
    udp: bool,
) -> Result<(Vec<Listener>, Vec<Listener>)> {
    let both = [SockType::Stream, SockType::Datagram];
    let kinds = if udp { &both[..] } else { &both[..1] };
    let all = open_all(endpoints, kinds, queue)?;
    Ok(all.into_iter().partition(Listener::is_stream))
}

/// Opens all sockets of all endpoints, in their order.
fn open_all(endpoints: &[Endpoint], kinds: &[SockType], queue: Queue) -> Result<Vec<Listener>> {
    let mut all: Vec<Listener> = Vec::new();
    for endpoint in endpoints {
        match open(endpoint, kinds, queue) {
            Ok(opened) => all.extend(opened),
            Err(error) => {
                let same =
                    |other: &&Listener| other.port().is_some() && other.port() == endpoint.port();
                let ours = all.iter().find(same).filter(|_| is(&error, Errno::EADDRINUSE));
                let error = match ours {
                    Some(other) => Error::Refused(format!("{error}, by our own {other}")),
                    None => error,
                };
                all.into_iter().for_each(|listener| drop(listener.close())); // removes their files
                return Err(error);
            }
        }
    }
    Ok(all)
}

/// Opens all sockets of one endpoint, on one port. The kernel chooses port 0 for the first socket;
/// if the port is taken for another one, all are opened again.
fn open(endpoint: &Endpoint, kinds: &[SockType], queue: Queue) -> Result<Vec<Listener>> {
    let mut taken = Vec::new(); // kept open, so that the kernel chooses another port
    let mut tries = 0;
    loop {
        let mut opened = Vec::new();
        match open_once(endpoint, kinds, queue, &mut opened) {
            Ok(()) => return Ok(opened),
            Err(error) if !is(&error, Errno::EADDRINUSE) => return Err(error),
            Err(error) => match endpoint.port() {
                Some(0) if !opened.is_empty() && taken.len() < PORT_TRIES => taken.push(opened),
                Some(1..) if tries < BIND_TRIES => {
                    drop(opened);
                    tries += 1;
                    std::thread::sleep(BIND_PAUSE);
                }
                _ => return Err(error),
            },
        }
    }
}

fn open_once(
    endpoint: &Endpoint,
    kinds: &[SockType],
    queue: Queue,
    opened: &mut Vec<Listener>,
) -> Result<()> {
    let each = endpoint.each();
    let (mut port, mut missing) = (endpoint.port(), None);
    for single in &each {
        let kinds = match single {
            Endpoint::Unix(_) => &[SockType::Stream][..],
            Endpoint::UnixDatagram(_) => &[SockType::Datagram][..],
            _ => kinds,
        };
        for kind in kinds {
            let at = port.map_or_else(|| single.clone(), |port| single.clone().with_port(port));
            match bound(&at, *kind, queue) {
                Ok(listener) => {
                    port = listener.port();
                    opened.push(listener);
                }
                // localhost may have an IPv6 address on a machine without IPv6.
                Err(error) if each.len() > 1 && is_missing(&error) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
    match missing {
        Some(error) if opened.is_empty() => Err(error),
        Some(error) => {
            warn!("{error}; {endpoint} is served without it");
            Ok(())
        }
        None => Ok(()),
    }
}

fn is(error: &Error, wanted: Errno) -> bool {
    matches!(error, Error::Os { errno, .. } if *errno == wanted)
}

/// Returns true if the machine does not have the address, or the address family.
fn is_missing(error: &Error) -> bool {
    is(error, Errno::EADDRNOTAVAIL) || is(error, Errno::EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(addresses: [&str; 2]) -> Endpoint {
        let addresses = addresses.map(|address| address.parse().unwrap());
        Endpoint::Name("localhost".into(), addresses.to_vec())
    }

    #[test]
    fn all_sockets_of_a_name_have_one_port_for_tcp_and_udp() {
        let both = name(["127.0.0.1:0", "[::1]:0"]);
        let (streams, datagrams) = streams_and_datagrams(&[both], Queue::NONE, true).unwrap();
        let port = streams[0].port().unwrap();
        let expected = [format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
        for sockets in [streams, datagrams] {
            assert_eq!(sockets.iter().map(Listener::to_string).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_skipped() {
        let half = name(["127.0.0.1:0", "[2001:db8::1]:0"]);
        let (streams, _) = streams_and_datagrams(&[half], Queue::NONE, false).unwrap();
        assert_eq!(streams.len(), 1);
        let none = name(["192.0.2.1:0", "[2001:db8::1]:0"]);
        let error = streams_and_datagrams(&[none], Queue::NONE, false).unwrap_err();
        assert!(error.to_string().ends_with("Cannot assign requested address"), "{error}");
    }
}
