//! The socket of one transfer and the peer at its other end.
//!
//! The two ports are the transfer identifiers of RFC 1350 §4. The socket is not connected: a
//! datagram from any other address or port has to be seen, so that its sender gets ERROR 5 while
//! the transfer goes on.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forknet::{Bursts, comes_from_the_way, next_error};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, getsockopt,
    recvmsg, sendto, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

use crate::failure::Failure;
use crate::packet::{self, Code, Packet};
use crate::window::Packets;

/// Longer than any datagram, so that DATA larger than the block shows; and the kernel hands over
/// several at once that are no longer together.
const BUFFER: usize = 1 << 16;
/// Longer than any ACK, OACK or ERROR that means something; what is cut off nobody misses. A process
/// that takes no DATA touches less memory, and fork has less to do.
const SMALL_BUFFER: usize = 1 << 11;
/// How many errors are taken from the socket's queue at a time, and how often a packet is
/// handed over anew when an error of an earlier one came in its place.
const MAX_ERRORS: usize = 16;
/// How long a window may wait for room in the socket.
const LONGEST_SEND: Duration = Duration::from_secs(1);
/// How long a packet waits for room in the network interface: so long at first, and so long at last,
/// always twice as long.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(2);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(256);
/// The shortest wait: SO_RCVTIMEO of zero would be no limit at all.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Which way a packet went, for the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It came from the peer.
    In,
    /// It went to the peer.
    Out,
}

/// Is shown every packet of the dialogue between the two ends.
pub type Trace<'a> = Box<dyn FnMut(Way, &[u8]) + 'a>;

/// One end of a transfer.
pub struct Channel<'a> {
    socket: &'a UdpSocket,
    peer: SocketAddr,
    /// The peer's port is final. A client learns it from the server's first answer.
    fixed: bool,
    /// What may be a first answer: all else comes from a stranger, one who still talks to the client
    /// that had this port before.
    may_be_first: fn(&[u8]) -> bool,
    /// The SO_RCVTIMEO that is set.
    wait: Option<Duration>,
    buffer: Box<[u8]>,
    /// The present datagram in the buffer.
    datagram: Range<usize>,
    /// The datagrams after it that came together with it, from the peer as well.
    waiting: Range<usize>,
    bursts: Bursts,
    sends_are_bounded: bool,
    looked: Option<bool>,
    /// The kernel's word counts for when a datagram came.
    is_timed: bool,
    /// When the peer's last datagram came.
    heard: Heard,
    trace: Trace<'a>,
}

impl<'a> Channel<'a> {
    /// A server's: the request came from `peer`, address and port. Until it [`takes_data`], ACKs and
    /// ERRORs are all that is heard.
    ///
    /// [`takes_data`]: Channel::takes_data
    #[must_use]
    pub fn to(socket: &'a UdpSocket, peer: SocketAddr, trace: Trace<'a>) -> Channel<'a> {
        let buffer = vec![0; SMALL_BUFFER].into_boxed_slice();
        Channel {
            socket,
            peer,
            fixed: true,
            may_be_first: |_| true,
            wait: None,
            buffer,
            datagram: 0..0,
            waiting: 0..0,
            bursts: Bursts::default(),
            sends_are_bounded: false,
            looked: None,
            is_timed: true,
            heard: Heard::At(SystemTime::now()),
            trace,
        }
    }

    /// A client's: the request goes to `service`; the answer comes from the same address and
    /// from the port that is the peer's from then on (RFC 1350 §4). It is one that `may_be_first`.
    #[must_use]
    pub fn asking(
        socket: &'a UdpSocket,
        service: SocketAddr,
        may_be_first: fn(&[u8]) -> bool,
        trace: Trace<'a>,
    ) -> Channel<'a> {
        Channel { fixed: false, may_be_first, ..Channel::to(socket, service, trace) }
    }

    /// DATA of any length may come.
    #[must_use]
    pub fn takes_data(self) -> Channel<'a> {
        Channel { buffer: vec![0; BUFFER].into_boxed_slice(), ..self }
    }

    /// Makes room for datagrams that come in rows, if the kernel lets us, and has it hand over
    /// several at once. Gives the room that there is, as it counts: twice what it was asked for.
    pub fn expect_rows(&self, room: usize) -> usize {
        let _one_at_a_time = setsockopt(self.socket, sockopt::UdpGroSegment, &true);
        let has = || getsockopt(self.socket, sockopt::RcvBuf).unwrap_or_default();
        if has() / 2 < room && setsockopt(self.socket, sockopt::RcvBufForce, &room).is_err() {
            let _as_large_as_allowed = setsockopt(self.socket, sockopt::RcvBuf, &room);
        }
        has()
    }

    /// Sends packets to the peer. A packet that the network refuses for the moment counts as
    /// lost on its way; so does what finds no room in the socket for a second.
    ///
    /// # Errors
    /// [`Failure::Gone`] when the peer's port is closed, [`Failure::Socket`] for a fault that
    /// waiting will not mend.
    pub fn send(&mut self, packets: Packets<'_>) -> Result<(), Failure> {
        packets.iter().for_each(|packet| (self.trace)(Way::Out, packet));
        self.bound_sends(packets)?;
        for mut row in packets.pieces {
            while !row.is_empty() {
                let Some(sent) = self.send_some(row, packets.size)? else { return Ok(()) };
                row = row.get(sent..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// A window may be longer than the socket's buffer, and wait for the network.
    fn bound_sends(&mut self, packets: Packets<'_>) -> Result<(), Failure> {
        let is_window = packets.pieces.iter().any(|row| row.len() > packets.size);
        if is_window && !std::mem::replace(&mut self.sends_are_bounded, true) {
            self.socket.set_write_timeout(Some(LONGEST_SEND)).map_err(Failure::Socket)?;
        }
        Ok(())
    }

    /// The octets that were sent; `None` when there was no room for so long. ENOBUFS says that our own
    /// network interface has no room: more packets would be lost like this one, until it has.
    fn send_some(&mut self, row: &[u8], size: usize) -> Result<Option<usize>, Failure> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..MAX_ERRORS {
            match self.bursts.send(self.socket, row, size, self.peer) {
                Ok(sent) => return Ok(Some(sent)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::ENOBUFS) if pause > LONGEST_PAUSE => return Ok(None),
                Err(Errno::ENOBUFS) => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Err(errno) => self.tolerate(errno.into())?,
            }
        }
        Ok(Some(size)) // one is lost
    }

    /// Sends an ERROR packet, as the courtesy that it is (RFC 1350 §7): once, come what may.
    pub fn send_error(&mut self, code: Code, reason: &str) {
        let _courtesy = self.send(Packets::one(&packet::error(code, reason)));
    }

    /// Waits for a datagram of the peer's, until `deadline` at the latest; false then. For so long
    /// as `awake` it does so without going to sleep. [`Channel::datagram`] has it.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn receive(&mut self, deadline: Instant, awake: Duration) -> Result<bool, Failure> {
        self.looked = None;
        let mut now = Instant::now();
        let awake = now + awake;
        while !self.next_of_row() {
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(false);
            }
            let flags = if now < awake { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
            self.set_wait(left)?;
            match self.receive_from(flags, now) {
                Ok(came) if self.is_peer(&came) => {
                    self.heard = came.at;
                    self.peer.set_port(came.from.port());
                    self.fixed = true;
                    self.datagram = 0..came.size.max(1).min(came.length);
                    self.waiting = self.datagram.end..came.length;
                    self.trace_datagram();
                    break;
                }
                Ok(came) => self.answer_stranger(&came),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => self.tolerate(error)?,
            }
            // Looked at before every datagram: a flood of them must not outlast the deadline.
            now = Instant::now();
            self.looked = (!flags.is_empty()).then_some(now < awake).or(self.looked);
        }
        Ok(true)
    }

    /// What came of the last [`Channel::receive`]'s time awake: `None` if it had none, or needed none
    /// because the datagram was there already.
    #[must_use]
    pub fn looked(&self) -> Option<bool> {
        self.looked
    }

    /// Goes on to the next one of the datagrams that came together; false when there is none.
    pub fn next_of_row(&mut self) -> bool {
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
        (self.trace)(Way::In, self.buffer.get(self.datagram.clone()).unwrap_or_default());
    }

    /// The datagram received last.
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        self.buffer.get(self.datagram.clone()).unwrap_or_default()
    }

    /// Where packets go: the peer's address, and its port as far as it is known.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// True once the port that packets go to is the transfer's own.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// When the peer's last datagram came: by the kernel's clock, where the socket's
    /// SO_TIMESTAMPNS is on, however long it then waited to be received. If it was not
    /// [`timed`](Channel::timed), when the wait for it began: not later than it came, at any rate.
    #[must_use]
    pub fn heard(&self) -> SystemTime {
        match self.heard {
            Heard::At(time) => time,
            Heard::After(time) => SystemTime::now() - time.elapsed(),
        }
    }

    /// Whether the kernel is to be asked when datagrams come. In lock step with a peer on the same
    /// processor a fiftieth of the time goes into its answers.
    pub fn timed(&mut self, is_timed: bool) {
        self.is_timed = is_timed;
    }

    /// Receives a datagram, or several of one sender.
    fn receive_from(&mut self, flags: MsgFlags, now: Instant) -> io::Result<Came> {
        if self.is_timed || self.buffer.len() > SMALL_BUFFER || !flags.is_empty() {
            return self.receive_message(flags);
        }
        let (length, from) = self.socket.recv_from(&mut self.buffer)?;
        Ok(Came { from, length, size: length, at: Heard::After(now) })
    }

    /// recvmsg(2).
    fn receive_message(&mut self, flags: MsgFlags) -> io::Result<Came> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let mut control = cmsg_space!(TimeSpec, i32);
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
        let from = message.address.as_ref().and_then(address).ok_or(Errno::EAFNOSUPPORT)?;
        let (mut at, mut size) = (None, message.bytes);
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::ScmTimestampns(time) => {
                    at = Some(UNIX_EPOCH + Duration::from(time));
                }
                ControlMessageOwned::UdpGroSegments(segment) => {
                    size = usize::try_from(segment).unwrap_or(size);
                }
                _ => (),
            }
        }
        let at = Heard::At(at.unwrap_or_else(SystemTime::now));
        Ok(Came { from, length: message.bytes, size, at })
    }

    fn is_peer(&self, came: &Came) -> bool {
        let first = || (self.may_be_first)(self.buffer.get(..came.length).unwrap_or_default());
        let port = if self.fixed { came.from.port() == self.peer.port() } else { first() };
        came.from.ip() == self.peer.ip() && port
    }

    /// ERROR 5 to a stranger (RFC 1350 §4), but never in answer to an ERROR; nor does the transfer wait
    /// for room to send it.
    fn answer_stranger(&self, &Came { from, length, size, .. }: &Came) {
        let packet = Packet::parse(self.buffer.get(..length.min(size)).unwrap_or_default());
        log::debug!("{from} is a stranger to the transfer with {}", self.peer);
        if !matches!(packet, Ok(Packet::Error { .. })) {
            let answer = packet::error(Code::UnknownTransfer, "Unknown transfer ID");
            let (fd, to) = (self.socket.as_raw_fd(), SockaddrStorage::from(from));
            let _courtesy = sendto(fd, &answer, &to, MsgFlags::MSG_DONTWAIT);
        }
    }

    fn set_wait(&mut self, left: Duration) -> Result<(), Failure> {
        let wait = left.max(SHORTEST_WAIT);
        // A little longer than asked for does no harm, and the same value need not be set again.
        let close = |set: Duration| set >= wait && set - wait < SHORTEST_WAIT;
        if !self.wait.is_some_and(close) {
            let wait = wait + SHORTEST_WAIT / 2;
            self.socket.set_read_timeout(Some(wait)).map_err(Failure::Socket)?;
            self.wait = Some(wait);
        }
        Ok(())
    }

    /// Sorts the errors of send and receive. An ICMP message may have been caused by an earlier
    /// packet, even by an ERROR to a stranger: the queue of IP_RECVERR tells whose it is.
    fn tolerate(&self, error: io::Error) -> Result<(), Failure> {
        if self.peer_refuses() {
            return Err(Failure::Gone);
        }
        match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOMEM => Ok(()),
            // EPERM: a firewall of ours.
            Errno::ENETDOWN | Errno::EPERM if self.fixed => Ok(()),
            errno if self.fixed && comes_from_the_way(errno) => Ok(()),
            _ => Err(Failure::Socket(error)),
        }
    }

    /// Empties the socket's queue of errors; true when one says that the peer's port is closed.
    fn peer_refuses(&self) -> bool {
        (0..MAX_ERRORS).map_while(|_| next_error(self.socket)).any(|(errno, to)| {
            errno == Errno::ECONNREFUSED
                && to.is_some_and(|to| to.ip() == self.peer.ip() && to.port() == self.peer.port())
        })
    }
}

/// What came with one system call.
struct Came {
    from: SocketAddr,
    /// Octets in all.
    length: usize,
    /// Octets of each datagram; the last one may be shorter.
    size: usize,
    /// When.
    at: Heard,
}

/// When a datagram came.
#[derive(Clone, Copy, Debug)]
enum Heard {
    /// Then.
    At(SystemTime),
    /// Not before.
    After(Instant),
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match storage.family()? {
        AddressFamily::Inet => {
            storage.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())))
        }
        _ => storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))),
    }
}

#[cfg(test)]
mod tests;
