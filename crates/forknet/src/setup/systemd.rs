//! Sockets that systemd has opened and passed: sd_listen_fds(3) without libsystemd.
//!
//! `LISTEN_FDS=2` says that descriptors 3 and 4 are sockets for the process `LISTEN_PID`.
//! `LISTEN_PID` is needed because environments are inherited: a shell or script in between would
//! pass the variables on without the descriptors.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use log::{info, warn};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getpeername, getsockname,
    getsockopt, recv, sockopt,
};

use sys::fd;
use sys::proctitle::take_variable;
use sys::socket::to_std;

use crate::error::{Error, Result, strerror};
use crate::net::connection::Connection;
use crate::net::counters::Counters;
use crate::net::deadlines::Timeouts;
use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::text::shown;

/// The descriptors that [`take_descriptors`] has found.
static PASSED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// The passed sockets by kind.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// `ListenStream=` with `Accept=no`: listening sockets.
    pub(crate) listeners: Vec<Listener>,
    /// `ListenDatagram=`: bound sockets.
    pub(crate) datagrams: Vec<Listener>,
    /// `Accept=yes`: the only client of this process.
    pub(crate) client: Option<(Connection, Peer)>,
}

impl Sockets {
    /// Returns them for a protocol of streams only.
    ///
    /// # Errors
    /// There is a socket of another kind.
    pub(crate) fn no_datagrams(self) -> Result<Sockets> {
        match self.datagrams.first() {
            Some(odd) => Err(invalid(
                odd.as_fd().as_raw_fd(),
                "a datagram socket: this protocol needs a stream",
            )),
            None => Ok(self),
        }
    }

    /// Returns them for a protocol of datagrams only.
    ///
    /// # Errors
    /// There is a socket of another kind.
    pub(crate) fn no_streams(self) -> Result<Sockets> {
        let listener = self.listeners.first().map(|listener| listener.as_fd().as_raw_fd());
        let client = self.client.as_ref().map(|(conn, _)| conn.fd().as_raw_fd());
        match listener.or(client) {
            Some(odd) => Err(invalid(odd, "a stream socket: this protocol needs UDP")),
            None => Ok(self),
        }
    }
}

/// Takes the descriptors that were passed to this process, and makes them close-on-exec. Closes all
/// others that the starter has left open, except standard input, output and error. Call it before
/// this process opens descriptors of its own.
///
/// # Errors
/// One of them is not open.
pub(crate) fn take_descriptors() -> Result<()> {
    let (pid, count) = (take_variable("LISTEN_PID"), take_variable("LISTEN_FDS"));
    let _names = take_variable("LISTEN_FDNAMES");
    let count = passed_count(pid.as_deref(), count.as_deref(), std::process::id());
    let passed = fd::take_inherited(count).map_err(|(fd, errno)| invalid(fd, &strerror(errno)))?;
    PASSED.lock().unwrap_or_else(PoisonError::into_inner).extend(passed);
    Ok(())
}

/// Returns the descriptors that [`take_descriptors`] has found, once.
pub(crate) fn passed_descriptors() -> Vec<OwnedFd> {
    std::mem::take(&mut PASSED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Returns the number of descriptors for the process `me`. Malformed values are logged and count as
/// none.
fn passed_count(pid: Option<&str>, count: Option<&str>, me: u32) -> RawFd {
    let (Some(pid_text), Some(count_text)) = (pid, count) else { return 0 };
    let Ok(pid) = pid_text.parse::<u32>() else {
        warn!("LISTEN_PID '{}': not a process id: ignored", shown(pid_text));
        return 0;
    };
    if pid != me {
        info!("LISTEN_PID {pid} is not this process, which is {me}: LISTEN_FDS is ignored");
        return 0;
    }
    match count_text.parse::<RawFd>() {
        Ok(count) if (0..=RawFd::MAX - fd::FIRST_OTHER).contains(&count) => count,
        _ => {
            warn!("LISTEN_FDS '{}': not a number of descriptors: ignored", shown(count_text));
            0
        }
    }
}

/// Sorts the sockets by kind; `None` if none was passed. A client must be alone, and an unusable
/// socket is an error, so that a wrong unit file is noticed.
///
/// # Errors
/// `descriptor 4 (LISTEN_FDS): not a socket` and similar.
pub(crate) fn classify(descriptors: Vec<OwnedFd>, timeouts: Timeouts) -> Result<Option<Sockets>> {
    let count = descriptors.len();
    if count == 0 {
        return Ok(None);
    }
    let mut passed = Sockets::default();
    for fd in descriptors {
        sort(fd, timeouts, &mut passed)?;
    }
    match &passed.client {
        Some((conn, _)) if count > 1 => {
            let why = "a connected socket, which must be the only one";
            Err(invalid(conn.fd().as_raw_fd(), why))
        }
        Some(_) => Ok(Some(passed)),
        None => {
            let sockets = if count == 1 { "socket" } else { "sockets" };
            info!("systemd passed {count} {sockets} to be used in place of -l");
            Ok(Some(passed))
        }
    }
}

fn sort(fd: OwnedFd, timeouts: Timeouts, sockets: &mut Sockets) -> Result<()> {
    let number = fd.as_raw_fd();
    let kind = match getsockopt(&fd, sockopt::SockType) {
        Err(Errno::ENOTSOCK) => return Err(invalid(number, "not a socket")),
        kind => kind.map_err(|errno| invalid(number, &strerror(errno)))?,
    };
    let name: SockaddrStorage =
        getsockname(number).map_err(|errno| invalid(number, &strerror(errno)))?;
    let served = [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Unix];
    if !name.family().is_some_and(|family| served.contains(&family)) {
        return Err(invalid(number, "a socket of another family than IPv4, IPv6 and UNIX"));
    }
    let accepts = || getsockopt(&fd, sockopt::AcceptConn);
    match kind {
        SockType::Datagram => sockets.datagrams.push(Listener::inherited(fd, kind)?),
        SockType::Stream if accepts().map_err(|errno| invalid(number, &strerror(errno)))? => {
            sockets.listeners.push(Listener::inherited(fd, kind)?);
        }
        SockType::Stream => sockets.client = Some(connected(fd, timeouts)?),
        other => {
            let why = format!("a socket of type {other:?}: neither stream nor UDP");
            return Err(invalid(number, &why));
        }
    }
    Ok(())
}

/// Wraps a stream socket that does not listen: a client, if it was ever connected.
fn connected(fd: OwnedFd, timeouts: Timeouts) -> Result<(Connection, Peer)> {
    let number = fd.as_raw_fd();
    let peer = match getpeername::<SockaddrStorage>(number) {
        Ok(name) => Peer::from(to_std(&name)),
        Err(_) if was_never_connected(number) => {
            return Err(invalid(number, "a stream socket that neither listens nor is connected"));
        }
        Err(_) => Peer::Unix, // it has reset, and has no name any more
    };
    Ok((Connection::socket(fd, timeouts, Counters::unshared()), peer))
}

/// Returns true for a socket that was never connected: ENOTCONN for TCP, EINVAL for a UNIX socket.
/// A client that has reset leaves ECONNRESET.
fn was_never_connected(fd: RawFd) -> bool {
    let peeked = recv(fd, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    matches!(peeked, Err(Errno::ENOTCONN | Errno::EINVAL))
}

/// Makes the error of a descriptor.
fn invalid(fd: RawFd, why: &str) -> Error {
    Error::Refused(format!("descriptor {fd} (LISTEN_FDS): {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{SockFlag, socket};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    const IDLE: Duration = Duration::from_secs(1);

    fn sorted(descriptors: Vec<OwnedFd>) -> std::result::Result<Sockets, String> {
        classify(descriptors, Timeouts::idle(IDLE))
            .map(Option::unwrap)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_descriptors_for_this_process_count() {
        assert_eq!(passed_count(Some("42"), Some("2"), 42), 2);
        assert_eq!(passed_count(Some("41"), Some("2"), 42), 0);
        assert_eq!(passed_count(None, Some("2"), 42), 0);
        assert_eq!(passed_count(Some("42"), None, 42), 0);
        for odd in ["", " 42", "42x", "-42", "0x2a", "99999999999999999999", "\u{1b}[2J"] {
            assert_eq!(passed_count(Some(odd), Some("2"), 42), 0, "LISTEN_PID {odd}");
        }
        for odd in ["", "two", "-1", "2147483647", "99999999999", "1.5"] {
            assert_eq!(passed_count(Some("42"), Some(odd), 42), 0, "LISTEN_FDS {odd}");
        }
    }

    #[test]
    fn each_kind_of_socket_is_recognized() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let name = client.local_addr().unwrap().to_string();
        let accepted = listener.accept().unwrap().0;
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let both = sorted(vec![listener.into(), udp.into()]).unwrap();
        assert_eq!((both.listeners.len(), both.datagrams.len()), (1, 1));
        assert_eq!(both.listeners[0].to_string(), at.to_string());
        let why = both.no_datagrams().unwrap_err().to_string();
        assert!(why.ends_with("a datagram socket: this protocol needs a stream"), "{why}");
        let passed = sorted(vec![accepted.into()]).unwrap();
        assert_eq!(passed.client.as_ref().unwrap().1.to_string(), name);
        let why = passed.no_streams().unwrap_err().to_string();
        assert!(why.ends_with("a stream socket: this protocol needs UDP"), "{why}");
        assert!(classify(Vec::new(), Timeouts::idle(IDLE)).unwrap().is_none());
    }

    #[test]
    fn a_client_that_has_reset_is_still_a_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&client, sockopt::Linger, &linger).unwrap();
        drop(client); // RST, which on loopback arrives immediately
        assert!(sorted(vec![accepted.into()]).unwrap().client.is_some());
    }

    #[test]
    fn what_cannot_be_served_is_named_with_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let number = client.as_raw_fd();
        let two = sorted(vec![listener.into(), client.into()]).unwrap_err();
        let want = "a connected socket, which must be the only one";
        assert_eq!(two, format!("descriptor {number} (LISTEN_FDS): {want}"));
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(sorted(vec![file]).unwrap_err().ends_with(": not a socket"));
        let fresh = |family, kind| socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        for family in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Unix] {
            let idle = sorted(vec![fresh(family, SockType::Stream)]).unwrap_err();
            assert!(idle.ends_with("neither listens nor is connected"), "{family:?}: {idle}");
        }
        let odd = sorted(vec![fresh(AddressFamily::Unix, SockType::SeqPacket)]).unwrap_err();
        assert!(odd.contains("SeqPacket: neither"), "{odd}");
        let other = sorted(vec![fresh(AddressFamily::Netlink, SockType::Datagram)]).unwrap_err();
        assert!(other.contains("another family"), "{other}");
    }
}
