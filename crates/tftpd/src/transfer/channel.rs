//! The socket of one transfer and the peer at its other end.
//!
//! The two ports are the transfer identifiers of RFC 1350 §4. The socket is not connected: a
//! datagram from any other address or port must be received too, so that its sender gets ERROR 5
//! while the transfer goes on.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, getsockopt, sendto, setsockopt, sockopt};
use sys::errqueue::{is_icmp_error, next_error};
use sys::gso::Bursts;

use super::packets::Packets;
use super::recvmsg::{Arrival, Received, recvfrom, recvmsg};
use crate::error::Error;
use crate::wire::error_code::ErrorCode;
use crate::wire::packet::{self, Packet};

/// Bytes of the buffer for DATA: longer than any datagram, so that DATA larger than the block
/// shows; and with UDP_GRO the kernel hands over several datagrams at once.
const DATA_BUFFER: usize = 1 << 16;
/// Bytes of the buffer for ACK, OACK and ERROR: longer than any of them that is valid. A process
/// that takes no DATA touches less memory, and fork has less to do.
const SMALL_BUFFER: usize = 1 << 11;
/// Most errors that are taken from the socket's queue at a time, and most tries to send a packet
/// when the error of an earlier one is returned in its place.
const MAX_ERRORS: usize = 16;
/// Longest wait of a window for room in the socket's buffer.
const MAX_SEND_WAIT: Duration = Duration::from_secs(1);
/// First and longest pause before a packet is sent again for which the network interface had no
/// room; each pause is twice the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(2);
pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(256);
/// Shortest wait: an SO_RCVTIMEO of zero would be no limit at all.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Whether a packet came from the peer or went to it, for the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// It came from the peer.
    Received,
    /// It went to the peer.
    Sent,
}

/// Is shown every packet between the two ends.
pub type Trace<'a> = Box<dyn FnMut(Traced, &[u8]) + 'a>;

/// One end of a transfer.
pub struct Channel<'a> {
    socket: &'a UdpSocket,
    peer: SocketAddr,
    /// The peer's port is final. A client learns it from the server's first answer.
    is_peer_known: bool,
    /// True for what may be a first answer. Everything else comes from a server that still talks to
    /// the client which had this port before.
    may_be_first: fn(&[u8]) -> bool,
    /// The SO_RCVTIMEO that is set.
    read_timeout: Option<Duration>,
    buffer: Box<[u8]>,
    /// The present datagram in the buffer.
    datagram: Range<usize>,
    /// The datagrams after it that came together with it, from the peer as well.
    waiting: Range<usize>,
    bursts: Bursts,
    has_write_timeout: bool,
    poll_result: Option<bool>,
    /// The kernel tells when a datagram came.
    wants_timestamps: bool,
    /// When the peer's last datagram came.
    heard_at: Arrival,
    trace: Trace<'a>,
}

impl<'a> Channel<'a> {
    /// Makes a server's end: the request came from `peer`, address and port. Until it
    /// [`takes_data`], it receives only short packets.
    ///
    /// [`takes_data`]: Channel::takes_data
    #[must_use]
    pub fn for_server(socket: &'a UdpSocket, peer: SocketAddr, trace: Trace<'a>) -> Channel<'a> {
        let buffer = vec![0; SMALL_BUFFER].into_boxed_slice();
        Channel {
            socket,
            peer,
            is_peer_known: true,
            may_be_first: |_| true,
            read_timeout: None,
            buffer,
            datagram: 0..0,
            waiting: 0..0,
            bursts: Bursts::default(),
            has_write_timeout: false,
            poll_result: None,
            wants_timestamps: true,
            heard_at: Arrival::At(SystemTime::now()),
            trace,
        }
    }

    /// Makes a client's end: the request goes to `service`; the answer comes from the same address
    /// and from the port that is the peer's from then on (RFC 1350 §4). It is one that
    /// `may_be_first`.
    #[must_use]
    pub fn for_client(
        socket: &'a UdpSocket,
        service: SocketAddr,
        may_be_first: fn(&[u8]) -> bool,
        trace: Trace<'a>,
    ) -> Channel<'a> {
        let channel = Channel::for_server(socket, service, trace);
        Channel { is_peer_known: false, may_be_first, ..channel }
    }

    /// Gives it the buffer for DATA of any length.
    #[must_use]
    pub fn takes_data(self) -> Channel<'a> {
        Channel { buffer: vec![0; DATA_BUFFER].into_boxed_slice(), ..self }
    }

    /// Makes the receive buffer this large, in bytes, if the kernel lets us, and turns UDP_GRO on.
    /// Returns the size of the buffer as getsockopt(2) gives it: twice what was set.
    pub fn expect_windows(&self, receive_buffer: usize) -> usize {
        let _ = setsockopt(self.socket, sockopt::UdpGroSegment, &true); // best effort
        let size = || getsockopt(self.socket, sockopt::RcvBuf).unwrap_or_default();
        if size() / 2 < receive_buffer
            && setsockopt(self.socket, sockopt::RcvBufForce, &receive_buffer).is_err()
        {
            let _ = setsockopt(self.socket, sockopt::RcvBuf, &receive_buffer); // best effort
        }
        size()
    }

    /// Sends packets to the peer. A packet that the network refuses for the moment counts as
    /// lost on its way; so does what finds no room in the socket for a second.
    ///
    /// # Errors
    /// [`Error::PortClosed`] when the peer's port is closed, [`Error::Socket`] for a fault that
    /// waiting will not mend.
    pub fn send(&mut self, packets: Packets<'_>) -> Result<(), Error> {
        packets.iter().for_each(|packet| (self.trace)(Traced::Sent, packet));
        self.limit_send_wait(packets)?;
        for mut row in packets.pieces {
            while !row.is_empty() {
                let Some(sent) = self.send_some(row, packets.size)? else { return Ok(()) };
                row = row.get(sent..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Sets SO_SNDTIMEO before the first window, which may be longer than the socket's buffer.
    fn limit_send_wait(&mut self, packets: Packets<'_>) -> Result<(), Error> {
        let is_window = packets.pieces.iter().any(|row| row.len() > packets.size);
        if is_window && !std::mem::replace(&mut self.has_write_timeout, true) {
            self.socket.set_write_timeout(Some(MAX_SEND_WAIT)).map_err(Error::Socket)?;
        }
        Ok(())
    }

    /// Sends the first packets of a row. Returns the bytes that were sent; `None` when there was no
    /// room. ENOBUFS says that our own network interface has no room: more packets would be lost
    /// like this one until it has.
    fn send_some(&mut self, row: &[u8], size: usize) -> Result<Option<usize>, Error> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..MAX_ERRORS {
            match self.bursts.send(self.socket, row, size, self.peer) {
                Ok(sent) => return Ok(Some(sent)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::ENOBUFS) if pause > MAX_PAUSE => return Ok(None),
                Err(Errno::ENOBUFS) => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Err(errno) => self.ignore_or_fail(errno.into())?,
            }
        }
        Ok(Some(size)) // one is lost
    }

    /// Sends an ERROR packet, once and whatever comes of it: it is a courtesy (RFC 1350 §7).
    pub fn send_error(&mut self, code: ErrorCode, reason: &str) {
        let _ = self.send(Packets::single(&packet::error(code, reason))); // best effort
    }

    /// Waits for a datagram of the peer's until `deadline`; false then. Polls for the first
    /// `busy_poll` of that time without going to sleep. [`Channel::datagram`] has the datagram.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn receive(&mut self, deadline: Instant, busy_poll: Duration) -> Result<bool, Error> {
        self.poll_result = None;
        let mut now = Instant::now();
        let poll_until = now + busy_poll;
        while !self.next_in_batch() {
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(false);
            }
            let polls = now < poll_until;
            let flags = if polls { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
            self.set_read_timeout(left)?;
            match self.receive_some(flags, now) {
                Ok(received) if self.is_from_peer(&received) => {
                    self.heard_at = received.at;
                    self.peer.set_port(received.from.port());
                    self.is_peer_known = true;
                    self.datagram = 0..received.size.max(1).min(received.length);
                    self.waiting = self.datagram.end..received.length;
                    self.trace_datagram();
                    break;
                }
                Ok(received) => self.answer_unknown_transfer(&received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => self.ignore_or_fail(error)?,
            }
            // Read before every datagram: a flood of them must not outlast the deadline.
            now = Instant::now();
            self.poll_result = polls.then_some(now < poll_until).or(self.poll_result);
        }
        Ok(true)
    }

    /// Returns whether the busy poll of the last [`Channel::receive`] found something: `None` if
    /// there was none, or the datagram was there already.
    #[must_use]
    pub fn poll_result(&self) -> Option<bool> {
        self.poll_result
    }

    /// Goes on to the next one of the datagrams that came together; false when there is none.
    pub fn next_in_batch(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let size = self.datagram.len();
        let end = (self.waiting.start + size).min(self.waiting.end);
        self.datagram = self.waiting.start..end;
        self.waiting.start = end;
        self.trace_datagram();
        true
    }

    fn trace_datagram(&mut self) {
        let datagram = self.buffer.get(self.datagram.clone()).unwrap_or_default();
        (self.trace)(Traced::Received, datagram);
    }

    /// Returns the datagram received last.
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        self.buffer.get(self.datagram.clone()).unwrap_or_default()
    }

    /// Returns where packets go: the peer's address, and its port as far as it is known.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// True once the port that packets go to is the transfer's own.
    #[must_use]
    pub fn is_peer_known(&self) -> bool {
        self.is_peer_known
    }

    /// Returns when the peer's last datagram came: by the kernel's clock, where the socket's
    /// SO_TIMESTAMPNS is on, however long it then waited to be received. Without a
    /// [`timestamp`](Channel::set_timestamps) it is when the wait for it began, so not later than
    /// it came.
    #[must_use]
    pub fn heard_at(&self) -> SystemTime {
        match self.heard_at {
            Arrival::At(time) => time,
            Arrival::After(time) => SystemTime::now() - time.elapsed(),
        }
    }

    /// Sets whether to ask the kernel when datagrams come. In lock step with a peer on the same
    /// processor that takes a fiftieth of the time.
    pub fn set_timestamps(&mut self, wanted: bool) {
        self.wants_timestamps = wanted;
    }

    /// Receives a datagram, or several of one sender.
    fn receive_some(&mut self, flags: MsgFlags, now: Instant) -> io::Result<Received> {
        if self.wants_timestamps || self.buffer.len() > SMALL_BUFFER || !flags.is_empty() {
            return recvmsg(self.socket, &mut self.buffer, flags);
        }
        recvfrom(self.socket, &mut self.buffer, now)
    }

    fn is_from_peer(&self, received: &Received) -> bool {
        let datagrams = || self.buffer.get(..received.length).unwrap_or_default();
        let is_its_port = if self.is_peer_known {
            received.from.port() == self.peer.port()
        } else {
            (self.may_be_first)(datagrams())
        };
        received.from.ip() == self.peer.ip() && is_its_port
    }

    /// Sends ERROR 5 to a sender that is not the peer (RFC 1350 §4), but never in answer to an
    /// ERROR. The transfer does not wait for room to send it.
    fn answer_unknown_transfer(&self, &Received { from, length, size, .. }: &Received) {
        let packet = Packet::parse(self.buffer.get(..length.min(size)).unwrap_or_default());
        log::debug!("{from} is a stranger to the transfer with {}", self.peer);
        if !matches!(packet, Ok(Packet::Error { .. })) {
            let answer = packet::error(ErrorCode::UnknownTransfer, "Unknown transfer ID");
            let (fd, to) = (self.socket.as_raw_fd(), SockaddrStorage::from(from));
            let _ = sendto(fd, &answer, &to, MsgFlags::MSG_DONTWAIT); // best effort
        }
    }

    fn set_read_timeout(&mut self, left: Duration) -> Result<(), Error> {
        let wait = left.max(MIN_WAIT);
        // A little longer than asked for does no harm, and saves a system call for the same value.
        let is_close = |set: Duration| set >= wait && set - wait < MIN_WAIT;
        if !self.read_timeout.is_some_and(is_close) {
            let wait = wait + MIN_WAIT / 2;
            self.socket.set_read_timeout(Some(wait)).map_err(Error::Socket)?;
            self.read_timeout = Some(wait);
        }
        Ok(())
    }

    /// Decides whether an error of send or receive ends the transfer. An ICMP message may have been
    /// caused by an earlier packet, even by an ERROR to another sender: the queue of IP_RECVERR
    /// tells by which.
    fn ignore_or_fail(&self, error: io::Error) -> Result<(), Error> {
        if self.is_port_closed() {
            return Err(Error::PortClosed);
        }
        match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOMEM => Ok(()),
            // EPERM: a firewall of ours.
            Errno::ENETDOWN | Errno::EPERM if self.is_peer_known => Ok(()),
            errno if self.is_peer_known && is_icmp_error(errno) => Ok(()),
            _ => Err(Error::Socket(error)),
        }
    }

    /// Empties the socket's queue of errors; true when one says that the peer's port is closed.
    fn is_port_closed(&self) -> bool {
        (0..MAX_ERRORS).map_while(|_| next_error(self.socket)).any(|(errno, to)| {
            errno == Errno::ECONNREFUSED
                && to.is_some_and(|to| to.ip() == self.peer.ip() && to.port() == self.peer.port())
        })
    }
}

#[cfg(test)]
mod tests;
