//! recvfrom and sendto over all sockets of a service.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use log::debug;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrStorage, UnixAddr, sendto, setsockopt, sockopt};

use sys::socket::receive_unix;
use sys::udp::{Received, receive_into, request_local_address, send_from};

use crate::error::{Error, Result, strerror};
use crate::log::transcript::Transcript;
use crate::net::counters::Counters;
use crate::net::failures::{Failures, PAUSE};
use crate::net::interrupt::poll_timeout;
use crate::net::listener::Listener;
use crate::net::unix_name::UnixName;

/// Ports below this one belong to services, not to clients (IPPORT_RESERVED).
const IPPORT_RESERVED: u16 = 1024;
/// Size of the receive buffer in bytes, if the kernel allows it, for bursts of datagrams; on
/// UNIX-domain sockets also of the send buffer, which holds answers until clients read them.
const BUFFER: usize = 1 << 20;

/// The bound sockets of a datagram service, for the one process that answers all clients.
#[derive(Debug)]
pub struct Datagrams {
    /// The transcript, set to the sender of the last datagram.
    pub transcript: Transcript,
    sockets: Vec<Listener>,
    /// Indexes of sockets that poll(2) found readable and that were not read since.
    ready: Vec<usize>,
    counters: Counters,
    /// Longest wait for a datagram before the service ends.
    idle: Option<Duration>,
    /// Readable once the service must end.
    stop: Option<OwnedFd>,
    unanswered: u64,
    failures: Failures,
}

/// The sender of a datagram, and how to answer from the address that it was sent to.
#[derive(Debug)]
pub struct Sender {
    socket: usize,
    reply_to: ReplyTo,
}

#[derive(Debug)]
enum ReplyTo {
    Udp { peer: SocketAddr, name: SockaddrStorage, local: SocketAddr },
    Unix { peer: UnixName, name: UnixAddr },
}

/// Shows the peer, with its name escaped.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply_to {
            ReplyTo::Udp { peer, .. } => peer.fmt(f),
            ReplyTo::Unix { peer, .. } => write!(f, "unix:{peer}"),
        }
    }
}

/// Prepares a bound socket: requests the local address of each datagram, and enlarges the buffers.
pub(crate) fn prepare(socket: &Listener) -> Result<()> {
    if socket.unix().is_some() {
        let _ = setsockopt(socket, sockopt::SndBuf, &BUFFER); // best effort
    } else {
        request_local_address(socket).map_err(Error::os("setsockopt IP_PKTINFO"))?;
    }
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &BUFFER); // best effort
    }
    Ok(())
}

impl Datagrams {
    pub(crate) fn new(
        sockets: Vec<Listener>,
        transcript: Transcript,
        counters: Counters,
        idle: Option<Duration>,
        stop: Option<OwnedFd>,
    ) -> Datagrams {
        Datagrams {
            transcript,
            sockets,
            ready: Vec::new(),
            counters,
            idle,
            stop,
            unanswered: 0,
            failures: Failures::default(),
        }
    }

    /// Waits for the next datagram of a client; returns its bytes and its sender, or `None` when
    /// the service must end.
    ///
    /// Ignores datagrams that were sent to a broadcast or multicast address, that come from a
    /// UNIX-domain socket without a name, that are longer than `mesg`, or that come from a port
    /// below 1024 or a port of this service. Such a port belongs to a service: echo, daytime,
    /// chargen and another server like this one would answer the answer, without end.
    ///
    /// # Errors
    /// A socket is broken.
    pub fn recvfrom<'m>(&mut self, mesg: &'m mut [u8]) -> io::Result<Option<(&'m [u8], Sender)>> {
        let (length, sender) = loop {
            let Some(socket) = self.next()? else { return Ok(None) };
            match self.receive(socket, mesg) {
                Ok(Some(client)) => break client,
                Err(Errno::EAGAIN) => self.wait_if_only_one()?,
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) if is_fatal(errno) => return Err(errno.into()),
                Err(errno) => self.receive_failed(errno),
            }
        };
        self.failures.reset();
        self.counters.received(length);
        if self.transcript.is_on() {
            self.transcript.set_peer(&sender);
        }
        Ok(Some((mesg.get(..length).unwrap_or_default(), sender)))
    }

    /// Answers. Never blocks: without room, or without a receiver, the answer is lost, as datagrams
    /// may be.
    pub fn sendto(&mut self, mesg: &[u8], to: &Sender) {
        let Some(socket) = self.sockets.get(to.socket) else { return };
        let sent = match &to.reply_to {
            ReplyTo::Udp { name, local, .. } => send_from(socket, *local, name, mesg),
            ReplyTo::Unix { name, .. } => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                sendto(socket.as_fd().as_raw_fd(), mesg, name, flags).map(drop)
            }
        };
        match sent {
            Ok(()) => {
                self.counters.sent(mesg.len());
                debug!("datagram from {to}: answered with {} octets", mesg.len());
            }
            Err(errno) => debug!("datagram from {to}: answer lost: {}", strerror(errno)),
        }
    }

    /// Returns true when recvfrom may block, as on the slide, because there is nothing else to wait
    /// for.
    fn is_only_one(&self) -> bool {
        self.sockets.len() == 1 && self.idle.is_none() && self.stop.is_none()
    }

    /// Returns the index of the socket to read from; `None` when the service must end. Every ready
    /// socket is read once before any is read again.
    fn next(&mut self) -> io::Result<Option<usize>> {
        if self.is_only_one() {
            return Ok(Some(0));
        }
        if self.ready.is_empty() && !self.wait()? {
            return Ok(None);
        }
        Ok(self.ready.pop())
    }

    /// Waits for the only socket, because inetd may pass one that does not block.
    fn wait_if_only_one(&mut self) -> io::Result<()> {
        if self.is_only_one() {
            self.wait()?;
            self.ready.clear();
        }
        Ok(())
    }

    /// poll(2) on all sockets; returns false when the service must end.
    fn wait(&mut self) -> io::Result<bool> {
        let until = self.idle.map(|idle| Instant::now() + idle);
        let fds = self.sockets.iter().map(AsFd::as_fd).chain(self.stop.as_ref().map(AsFd::as_fd));
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match poll(&mut fds, left.map_or(PollTimeout::NONE, poll_timeout)) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => break,
            }
        }
        let is_readable = |fd: &PollFd<'_>| fd.any() != Some(false);
        let count = self.sockets.len();
        if fds.get(count).is_some_and(is_readable) {
            return Ok(false);
        }
        self.ready.extend((0..count).filter(|i| fds.get(*i).is_some_and(is_readable)));
        Ok(true)
    }

    /// Receives a datagram; `None` for one that gets no answer.
    fn receive(&mut self, socket: usize, mesg: &mut [u8]) -> nix::Result<Option<(usize, Sender)>> {
        let waits = self.is_only_one();
        let flags = if waits { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        let Some(fd) = self.sockets.get(socket) else { return Ok(None) };
        let (length, is_cut, reply_to) = if fd.unix().is_some() {
            let (length, name) = receive_unix(fd, mesg, flags | MsgFlags::MSG_TRUNC)?;
            let named = name.and_then(|name| {
                Some(ReplyTo::Unix { peer: UnixName::from_address(&name)?, name })
            });
            (length, length > mesg.len(), named)
        } else {
            let Some(Received { length, is_cut, peer, name, local, .. }) =
                receive_into(fd, mesg, flags)?
            else {
                return Ok(self.ignore("a datagram: broadcast, multicast, or from port 0"));
            };
            (length, is_cut, Some(ReplyTo::Udp { peer, name, local }))
        };
        let Some(reply_to) = reply_to else {
            return Ok(self.ignore("unix: a socket without a name"));
        };
        let from_a_service = match &reply_to {
            ReplyTo::Udp { peer, .. } => self.is_service_port(peer.port()),
            // An answer of this service, which a symbolic link has led back here.
            ReplyTo::Unix { peer, .. } => self.sockets.iter().any(|own| own.unix() == Some(peer)),
        };
        let sender = Sender { socket, reply_to };
        if from_a_service {
            return Ok(self.ignore(format_args!("{sender}: a service, no client")));
        }
        if is_cut {
            return Ok(self.ignore(format_args!("{sender}: too long")));
        }
        Ok(Some((length, sender)))
    }

    fn is_service_port(&self, port: u16) -> bool {
        port < IPPORT_RESERVED || self.sockets.iter().any(|socket| socket.port() == Some(port))
    }

    /// Logs an error of recvmsg, and pauses if it persists.
    fn receive_failed(&mut self, errno: Errno) {
        debug!("recvmsg: {}", strerror(errno));
        if self.failures.count("recvmsg", errno) {
            std::thread::sleep(PAUSE);
        }
    }

    fn ignore<T>(&mut self, reason: impl fmt::Display) -> Option<T> {
        self.unanswered += 1;
        debug!("no answer to {reason} ({} so far)", self.unanswered);
        None
    }
}

/// Returns true for an error of the socket itself. Other errors of recvmsg(2) concern one datagram,
/// or pass.
fn is_fatal(errno: Errno) -> bool {
    matches!(errno, Errno::EBADF | Errno::EFAULT | Errno::EINVAL | Errno::ENOTSOCK)
}
