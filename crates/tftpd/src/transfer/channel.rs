//! The socket of one transfer and the peer at its other end.
//!
//! The two ports are the transfer identifiers of RFC 1350 §4. The socket is not connected, because
//! a datagram from any other address or port must be received too and answered with ERROR 5 while
//! the transfer goes on.

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

/// Size in bytes of the buffer for DATA. It is larger than any datagram, so that DATA larger than
/// the block is detected. With UDP_GRO the kernel fills it with several datagrams at once.
const DATA_BUFFER: usize = 1 << 16;
/// Size in bytes of the buffer for ACK, OACK and ERROR, larger than any valid one. A process that
/// receives no DATA touches less memory, and fork copies less.
const SMALL_BUFFER: usize = 1 << 10;
/// Most errors read from the socket's queue at a time, and most attempts to send a packet while
/// send(2) returns errors of earlier packets.
const MAX_ERRORS: usize = 16;
/// SO_SNDTIMEO: longest wait for room in the socket's send buffer.
const MAX_SEND_WAIT: Duration = Duration::from_secs(1);
/// First and longest pause before a packet is sent again after ENOBUFS. Each pause is twice the one
/// before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(2);
pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(256);
/// Most log lines about datagrams of others, for debugging.
const MAX_UNKNOWN: u32 = 20;
/// Most datagrams that are read for the ERROR of a peer whose port is closed.
const MAX_UNREAD: usize = 10_000;
/// Silence of the peer, and time in all, after which the port is closed that has sent an ERROR.
const STAY: Duration = Duration::from_millis(250);
const MAX_STAY: Duration = Duration::from_secs(2);
/// Shortest wait, because an SO_RCVTIMEO of zero means no limit.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Direction of a traced packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// Received from the peer.
    Received,
    /// Sent to the peer.
    Sent,
}

/// Called with every packet between the two ends.
pub type Trace<'a> = Box<dyn FnMut(Traced, &[u8]) + 'a>;

/// Called with the socket and the peer's address.
pub type PeerKnown<'a> = Box<dyn FnOnce(&UdpSocket, SocketAddr) + 'a>;

/// One end of a transfer.
pub struct Channel<'a> {
    socket: &'a UdpSocket,
    peer: SocketAddr,
    /// The peer's port is known. A client learns it from the server's first answer.
    is_peer_known: bool,
    /// Returns whether a packet may be a first answer. Other packets come from a server that still
    /// answers an earlier client on this port.
    may_be_first: fn(&[u8]) -> bool,
    /// The current SO_RCVTIMEO.
    read_timeout: Option<Duration>,
    buffer: Box<[u8]>,
    /// The current datagram in the buffer.
    datagram: Range<usize>,
    /// The datagrams received with it in one call, from the same peer.
    waiting: Range<usize>,
    bursts: Bursts,
    has_write_timeout: bool,
    poll_result: Option<bool>,
    /// SO_TIMESTAMPNS is used: the kernel reports arrival times.
    wants_timestamps: bool,
    /// When the peer's last datagram arrived.
    last_arrival: Arrival,
    /// Datagrams of other senders.
    unknown: u32,
    trace: Trace<'a>,
    /// Called once the peer's port is known.
    on_peer: Option<PeerKnown<'a>>,
}

impl<'a> Channel<'a> {
    /// Creates a server's end for a request from `peer`. It receives only short packets until
    /// [`takes_data`].
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
            last_arrival: Arrival::At(SystemTime::now()),
            unknown: 0,
            trace,
            on_peer: None,
        }
    }

    /// Creates a client's end for a request to `service`. The first answer that `may_be_first` must
    /// come from the same address; its port is the peer's from then on (RFC 1350 §4).
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

    /// Sets what is called once the peer's port is known, by its first answer.
    #[must_use]
    pub fn on_peer(self, on_peer: PeerKnown<'a>) -> Channel<'a> {
        Channel { on_peer: Some(on_peer), ..self }
    }

    /// Allocates the buffer for DATA of any length.
    #[must_use]
    pub fn takes_data(self) -> Channel<'a> {
        Channel { buffer: vec![0; DATA_BUFFER].into_boxed_slice(), ..self }
    }

    /// Enlarges the socket's receive buffer to `receive_buffer` bytes, as far as the kernel
    /// permits, and turns UDP_GRO on. Returns the buffer's size from getsockopt(2), which is twice
    /// the value set.
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

    /// Sends packets to the peer. A packet that can't be sent because of a temporary network error
    /// counts as lost, and so do packets without room in the socket for a second.
    ///
    /// # Errors
    /// [`Error::PortClosed`] if the peer's port is closed, [`Error::Socket`] for a permanent error.
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

    /// Sends the first packets of a row. Returns the bytes sent, or `None` if there was no room in
    /// the socket. After ENOBUFS the network interface has no room, so it pauses, because further
    /// packets would be lost too.
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
        Ok(Some(size)) // one packet is lost
    }

    /// Sends an ERROR packet once. It is a courtesy, so a failure is ignored (RFC 1350 §7).
    pub fn send_error(&mut self, code: ErrorCode, reason: &str) {
        let _ = self.send(Packets::single(&packet::error(code, reason))); // best effort
    }

    /// Waits for a datagram from the peer, which [`Channel::datagram`] returns. Returns false at
    /// `deadline`. For the first `busy_poll` of that time, polls without sleeping.
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
                    self.last_arrival = received.at;
                    self.peer.set_port(received.from.port());
                    self.is_peer_known = true;
                    if let Some(on_peer) = self.on_peer.take() {
                        on_peer(self.socket, self.peer);
                    }
                    self.datagram = 0..received.size.max(1).min(received.length);
                    self.waiting = self.datagram.end..received.length;
                    self.trace_datagram();
                    break;
                }
                Ok(received) => self.answer_unknown_transfer(&received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => self.ignore_or_fail(error)?,
            }
            // The clock is read after every datagram, because a flood of them must not outlast the
            // deadline.
            now = Instant::now();
            self.poll_result = polls.then_some(now < poll_until).or(self.poll_result);
        }
        Ok(true)
    }

    /// Returns the ERROR that the peer has sent before it closed its port. It may be unread still, after other packets.
    pub fn error_before_close(&mut self) -> Option<Error> {
        for _ in 0..MAX_UNREAD {
            if !self.next_in_batch() {
                match self.receive_some(MsgFlags::MSG_DONTWAIT, Instant::now()) {
                    Ok(received) if self.is_from_peer(&received) => {
                        self.datagram = 0..received.size.max(1).min(received.length);
                        self.waiting = self.datagram.end..received.length;
                        self.trace_datagram();
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    _ => continue,
                }
            }
            if let Ok(Packet::Error { code, message }) = Packet::parse(self.datagram()) {
                return Some(Error::Peer { code, message: message.to_vec() });
            }
        }
        None
    }

    /// Keeps the port open until nothing has come for a moment, so that the peer reads the ERROR that it was sent, and not
    /// that the port is closed.
    pub fn stay_after_error(&mut self) {
        let until = Instant::now() + MAX_STAY;
        while Instant::now() < until {
            if self.set_read_timeout(STAY).is_err() {
                return;
            }
            match self.socket.recv(&mut [0; 1]) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }

    /// Returns whether the busy poll of the last [`Channel::receive`] found a datagram. `None`
    /// without a busy poll, or if the datagram was already there.
    #[must_use]
    pub fn poll_result(&self) -> Option<bool> {
        self.poll_result
    }

    /// Moves to the next datagram received in the same call. Returns false if there is none.
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

    /// Returns the address that packets are sent to: the peer's, or the server's until the peer's
    /// port is known.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns whether the peer's port is known.
    #[must_use]
    pub fn is_peer_known(&self) -> bool {
        self.is_peer_known
    }

    /// Returns when the peer's last datagram arrived. With [timestamps](Channel::set_timestamps) it
    /// is the kernel's time of arrival. Otherwise it is the time when the wait for the datagram
    /// began, which is never later than its arrival.
    #[must_use]
    pub fn last_arrival(&self) -> SystemTime {
        match self.last_arrival {
            Arrival::At(time) => time,
            Arrival::After(time) => SystemTime::now() - time.elapsed(),
        }
    }

    /// Sets whether to read the kernel's time of arrival. In lock step with a peer on the same
    /// processor that costs 2 % of the time.
    pub fn set_timestamps(&mut self, wanted: bool) {
        self.wants_timestamps = wanted;
    }

    /// Receives a datagram, or several from one sender.
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

    /// Sends ERROR 5 to a sender other than the peer (RFC 1350 §4), but never in answer to an
    /// ERROR, nor to a server whose first answer is of the wrong kind or cut short: its next one may be
    /// the right one. Does not wait for room in the socket.
    fn answer_unknown_transfer(&mut self, &Received { from, length, size, .. }: &Received) {
        let packet = Packet::parse(self.buffer.get(..length.min(size)).unwrap_or_default());
        self.unknown = self.unknown.saturating_add(1);
        if self.unknown <= MAX_UNKNOWN {
            log::debug!("datagram from {from} does not belong to the transfer with {}", self.peer);
        }
        let may_be_server = !self.is_peer_known && from.ip() == self.peer.ip();
        let is_of_another = match packet {
            Ok(Packet::Error { .. }) => false,
            Ok(Packet::Data { block, .. }) if may_be_server => block > 1,
            Ok(Packet::Ack { block }) if may_be_server => block > 0,
            _ => !may_be_server,
        };
        if is_of_another {
            let answer = packet::error(ErrorCode::UnknownTransfer, "Unknown transfer ID");
            let (fd, to) = (self.socket.as_raw_fd(), SockaddrStorage::from(from));
            let _ = sendto(fd, &answer, &to, MsgFlags::MSG_DONTWAIT); // best effort
        }
    }

    fn set_read_timeout(&mut self, left: Duration) -> Result<(), Error> {
        let wait = left.max(MIN_WAIT);
        // A slightly longer timeout does no harm and saves a system call.
        let is_close = |set: Duration| set >= wait && set - wait < MIN_WAIT;
        if !self.read_timeout.is_some_and(is_close) {
            let wait = wait + MIN_WAIT / 2;
            self.socket.set_read_timeout(Some(wait)).map_err(Error::Socket)?;
            self.read_timeout = Some(wait);
        }
        Ok(())
    }

    /// Decides whether an error of send or receive ends the transfer. It may come from an ICMP
    /// message for an earlier packet, even an ERROR to another sender. The error queue of
    /// IP_RECVERR has that packet's address.
    fn ignore_or_fail(&self, error: io::Error) -> Result<(), Error> {
        if self.is_port_closed() {
            return Err(Error::PortClosed);
        }
        match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOMEM => Ok(()),
            // EPERM: a local firewall.
            Errno::ENETDOWN | Errno::EPERM if self.is_peer_known => Ok(()),
            errno if self.is_peer_known && is_icmp_error(errno) => Ok(()),
            _ => Err(Error::Socket(error)),
        }
    }

    /// Empties the socket's error queue. Returns whether an error says that the peer's port is
    /// closed.
    fn is_port_closed(&self) -> bool {
        (0..MAX_ERRORS).map_while(|_| next_error(self.socket)).any(|(errno, to)| {
            errno == Errno::ECONNREFUSED
                && to.is_some_and(|to| to.ip() == self.peer.ip() && to.port() == self.peer.port())
        })
    }
}

#[cfg(test)]
mod tests;
