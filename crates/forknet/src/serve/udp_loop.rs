//! One process and one port for all clients, distinguished by the sender of each datagram. For
//! servers behind NAT or in containers that forward one port only.
//!
//! The protocol's own loop calls [`UdpLoop::wait`] for each event, as `dg_echo` calls recvfrom.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, SockaddrStorage, getsockopt, setsockopt, sockopt};
use nix::unistd::Pid;
use sys::errqueue::{is_icmp_error, keep_errors, next_error};
use sys::fork::{Fork, OneTask, child, fork};
use sys::gso::Bursts;
use sys::signal::kill_child;
use sys::udp::{LocalAddr, Received, is_v6, receive_into};
use sys::wait::Ended;

use crate::error::{Result, strerror};
use crate::log::transcript::Transcript;
use crate::net::interrupt::POLL_INTERVAL;
use crate::net::listener::Listener;
use crate::net::peer::Peer;
use crate::options::limits::Over;
use crate::serve::limits::Refusal;
use crate::serve::master::{Master, Numbers, Round};
use crate::serve::scoreboard::Slot;

/// Size of the buffer in bytes: longer than any datagram.
const BUFFER: usize = 1 << 16;
/// Size of a socket's buffers in bytes, if the kernel allows it: all clients share one socket.
const SOCKET_BUFFER: usize = 4 << 20;
/// Most datagrams that are read before signals and the clock have their turn.
const ROUND: u32 = 64;
/// Most tries to send a packet when the error of an earlier one is returned in its place.
const MAX_ERRORS: usize = 16;
/// The service's sockets, in the one process that serves all clients.
#[derive(Debug)]
pub struct UdpLoop {
    transcript: Transcript,
    master: Master,
    buffer: Box<[u8]>,
    /// The current datagram in the buffer.
    datagram: Range<usize>,
    /// The datagrams after it that were received together with it, and their sender.
    waiting: Option<(Range<usize>, Sender)>,
    /// Indexes of the readable sockets.
    readable: Numbers,
    /// Index of the socket that is being read.
    reading: Option<usize>,
    /// Datagrams that may still be read in this round.
    left: u32,
    /// Processes of [`UdpLoop::spawn`].
    helpers: HashSet<i32>,
    ended: Vec<Ended>,
    table_wanted: bool,
    stop: Option<Stop>,
}

/// The state after SIGTERM.
#[derive(Debug)]
struct Stop {
    until: Instant,
    signals: usize,
}

/// An event for the protocol.
#[derive(Debug)]
pub enum Event {
    /// A datagram, which [`UdpLoop::datagram`] returns.
    Datagram(Sender),
    /// This peer's port is closed.
    Gone(SocketAddr),
    /// A process of [`UdpLoop::spawn`] has ended with this exit code; `None` if a signal has ended it.
    HelperEnded(Pid, Option<i32>),
    /// SIGUSR1: the protocol logs its clients.
    TableWanted,
    /// The time of the wait has passed.
    Time,
    /// The server must end.
    Stop,
}

/// The sender of a datagram, and the local address that it was sent to, from which the answer
/// comes.
#[derive(Clone, Debug)]
pub struct Sender {
    peer: SocketAddr,
    listener: usize,
    name: SockaddrStorage,
    /// The local address, with port 0.
    local: SocketAddr,
}

impl Sender {
    /// Returns its address and port.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the local address that it was sent to.
    #[must_use]
    pub fn local(&self) -> IpAddr {
        self.local.ip()
    }

    /// Returns true if both were sent to the same local address.
    #[must_use]
    pub fn asks_same_address(&self, other: &Sender) -> bool {
        (self.listener, self.local) == (other.listener, other.local)
    }
}

impl UdpLoop {
    pub(crate) fn new(mut master: Master) -> UdpLoop {
        master.set_keeps_unrelated();
        for listener in master.listeners() {
            if let Err(errno) = keep_errors(listener, is_v6(listener)) {
                warn!("setsockopt IP_RECVERR: {}", strerror(errno));
            }
            enlarge_buffers(listener);
        }
        UdpLoop {
            transcript: master.transcript(),
            master,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            datagram: 0..0,
            waiting: None,
            readable: Numbers::new(),
            reading: None,
            left: 0,
            helpers: HashSet::new(),
            ended: Vec::new(),
            table_wanted: false,
            stop: None,
        }
    }

    /// Returns the transcript; set its peer before each line.
    pub fn transcript(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    /// Returns the idle limit of `--timeout`, and that of a whole exchange, `--deadline`.
    #[must_use]
    pub fn timeouts(&self) -> (Duration, Duration) {
        (self.master.options().timeout, self.master.options().deadline)
    }

    /// Waits for an event, until `until` at the latest. `clients` is the number of clients served
    /// now.
    ///
    /// # Errors
    /// ppoll(2) failed.
    pub fn wait(&mut self, until: Option<Instant>, clients: usize) -> Result<Event> {
        if let Some(event) = self.next_ready() {
            return Ok(event);
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.into_iter().chain(self.stop.as_ref().map(|_| POLL_INTERVAL)).min();
        let round = Round { accepting: true, clients, timeout };
        let ready = self.master.wait_for(&round)?;
        (self.readable, self.left) = (ready.listeners, ROUND);
        self.readable.reverse(); // the last is read first
        self.table_wanted |= ready.table_wanted;
        if ready.has_old_processes {
            self.transcript = self.master.transcript();
        }
        let ended = self.master.unrelated().into_iter();
        self.ended.extend(ended.filter(|ended| self.helpers.contains(&ended.pid)));
        if self.is_over(clients) {
            info!("stopped");
            return Ok(Event::Stop);
        }
        Ok(self.next_ready().unwrap_or(Event::Time))
    }

    /// Returns true where [`UdpLoop::poll_now`] may find something: there is only one socket, and the
    /// server is not about to stop.
    #[must_use]
    pub fn can_poll(&self) -> bool {
        self.master.listeners().len() == 1 && self.stop.is_none() && !self.master.is_paused()
    }

    /// Returns a datagram that has arrived, for a protocol whose peers answer faster than a sleep
    /// and a wake-up. It delivers no signal, so the caller must [`wait`](UdpLoop::wait) from time
    /// to time.
    pub fn poll_now(&mut self) -> Option<Event> {
        if !self.can_poll() {
            return None;
        }
        (self.reading, self.left) = (Some(0), ROUND);
        self.next_ready()
    }

    /// Returns the next event without waiting.
    pub fn next_ready(&mut self) -> Option<Event> {
        if let Some(ended) = self.ended.pop() {
            self.helpers.remove(&ended.pid);
            return Some(Event::HelperEnded(Pid::from_raw(ended.pid), ended.code()));
        }
        if std::mem::take(&mut self.table_wanted) {
            return Some(Event::TableWanted);
        }
        if let Some((rest, sender)) = self.waiting.take() {
            return Some(Event::Datagram(self.set_datagram(rest, sender)));
        }
        while self.left > 0 {
            let again = self.reading.is_some();
            let Some(listener) = self.reading.or_else(|| self.readable.pop()) else { break };
            self.reading = Some(listener);
            self.left -= 1;
            match self.receive(listener) {
                Ok(Some(sender)) => {
                    self.master.spare_fd().recovered();
                    return Some(Event::Datagram(sender));
                }
                Ok(None) | Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) if again => self.reading = None,
                // It is ready because of an error, which a send may have returned already.
                Err(errno) => {
                    self.reading = None;
                    log::debug!("recvmsg: {}", strerror(errno));
                    let gone = self.gone(listener);
                    if gone.is_some() {
                        return gone;
                    }
                    self.master.spare_fd().receive_failed(errno);
                }
            }
        }
        (self.reading, self.left) = (None, 0);
        None
    }

    /// Receives a datagram, or several of one sender.
    fn receive(&mut self, number: usize) -> nix::Result<Option<Sender>> {
        let Some(listener) = self.master.listeners().get(number) else { return Err(Errno::EAGAIN) };
        let came = receive_into(listener, &mut self.buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(came.map(|Received { length, size, peer, name, local, .. }| {
            self.datagram = 0..size.clamp(1, length.max(1)); // the first datagram
            self.set_datagram(0..length, Sender { peer, listener: number, name, local })
        }))
    }

    /// Makes the first of these datagrams the current one. All but the last have the same length.
    fn set_datagram(&mut self, rest: Range<usize>, sender: Sender) -> Sender {
        let end = (rest.start + self.datagram.len()).min(rest.end);
        self.datagram = rest.start..end;
        self.waiting = (end < rest.end).then(|| (end..rest.end, sender.clone()));
        sender
    }

    /// Takes the next error of a socket that says that a peer's port is closed; drops the others.
    fn gone(&self, number: usize) -> Option<Event> {
        let listener = self.master.listeners().get(number)?;
        (0..ROUND)
            .map_while(|_| next_error(listener))
            .find_map(|(errno, to)| to.filter(|_| errno == Errno::ECONNREFUSED).map(Event::Gone))
    }

    /// Returns the datagram of the last [`Event::Datagram`].
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        self.buffer.get(self.datagram.clone()).unwrap_or_default()
    }

    /// Begins to stop after SIGTERM; returns true when the server must end. Clients may finish
    /// until `--grace` has passed or a second SIGTERM comes.
    fn is_over(&mut self, clients: usize) -> bool {
        if self.stop.is_none() && self.master.must_stop_with(clients) {
            let grace = self.master.options().grace;
            self.master.announcer().stopping(clients, grace + POLL_INTERVAL);
            if clients > 0 {
                info!("stopping: {clients} clients, {grace:?} to end");
            }
            let signals = self.master.signals().stops();
            self.stop = Some(Stop { until: Instant::now() + grace, signals });
        }
        self.stop.as_ref().is_some_and(|stop| {
            let must_hurry = self.master.signals().stops() > stop.signals;
            clients == 0 || must_hurry || Instant::now() >= stop.until
        })
    }

    /// Returns true when no new client is served.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Acquires a slot for one more client.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub fn admit(&mut self, peer: SocketAddr) -> std::result::Result<Slot, Refusal> {
        self.master.children().admit(Peer::Ip(peer))
    }

    /// Frees a client's slot.
    pub fn release(&mut self, slot: Slot) {
        self.master.children().release(slot);
    }

    /// Returns whether fewer clients are served than `-c` allows.
    pub fn has_place(&mut self) -> bool {
        !self.master.children().is_full()
    }

    /// Returns whether requests over the limit of `-c` wait (`--over queue`).
    #[must_use]
    pub fn lets_wait(&self) -> bool {
        self.master.options().over == Over::Queue
    }

    /// Logs that a client gave way to another, having come this far; within the rate of such lines.
    pub fn log_gave_way(&mut self, peer: SocketAddr, how: &str) {
        self.master.log_gave_way(Peer::Ip(peer), Pid::this().as_raw(), how);
    }

    /// Returns whether a line may be written about a request that the protocol has refused, or whose client has proved no
    /// address; counts it otherwise.
    pub fn may_log_unproven(&mut self) -> bool {
        self.master.refusals().allows_unproven()
    }

    /// Logs a datagram that is no request, within the rate of such lines.
    pub fn log_not_a_request(&mut self, peer: SocketAddr) {
        self.master.refusals().log_not_a_request(Peer::Ip(peer), self.datagram.len());
    }

    /// Refuses a client, and logs why.
    pub fn refuse(&mut self, to: &Sender, why: Refusal) {
        self.master.log_refusal(Peer::Ip(to.peer), why);
        if self.master.options().over == Over::Silent {
            return; // the client asks again by itself
        }
        let busy = self.master.replies().busy.clone();
        let _ = self.send(to, &busy, busy.len(), &mut Bursts::default()); // best effort
    }

    /// Sends the first of the datagrams in `row`, of `size` bytes each; the last may be shorter.
    /// Returns the bytes that were sent. Never blocks.
    ///
    /// # Errors
    /// EAGAIN when there is no room now; other errors of sendmsg(2).
    pub fn send(
        &self,
        to: &Sender,
        row: &[u8],
        size: usize,
        bursts: &mut Bursts,
    ) -> nix::Result<usize> {
        let listener = self.master.listeners().get(to.listener).ok_or(Errno::EBADF)?;
        let (flags, source) = (MsgFlags::MSG_DONTWAIT, LocalAddr::new(to.local));
        let send = || bursts.send_as(listener, row, size, &to.name, Some(&source), flags);
        // An error may have been caused by an earlier packet, to another peer.
        let mut tries = std::iter::repeat_with(send).take(MAX_ERRORS);
        let answer = tries.find(|sent| !sent.is_err_and(is_icmp_error));
        answer.unwrap_or(Err(Errno::ECONNREFUSED))
    }

    /// Returns the size of the receive buffer in bytes, as the kernel counts them.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        let size = |listener| getsockopt(listener, sockopt::RcvBuf).unwrap_or_default();
        self.master.listeners().iter().map(size).min().unwrap_or_default()
    }

    /// Starts a process for work that blocks. It ends with the exit code that `work` returns;
    /// [`Event::HelperEnded`] has it.
    ///
    /// # Errors
    /// fork(2) failed.
    pub fn spawn(&mut self, peer: SocketAddr, work: impl FnOnce() -> i32) -> nix::Result<Pid> {
        let alone = OneTask::check()?;
        match fork(alone)? {
            Fork::Parent(pid) => {
                self.helpers.insert(pid.as_raw());
                Ok(pid)
            }
            Fork::Child => child(|| {
                self.master.titles().client(Peer::Ip(peer));
                self.master.close_listeners();
                match self.master.children().unmap_lines(alone) {
                    Ok(()) => work(),
                    Err(errno) => errno as i32,
                }
            }),
        }
    }

    /// Kills a process of [`UdpLoop::spawn`].
    pub fn cancel(&self, helper: Pid) {
        let _ = kill_child(helper, Signal::SIGKILL); // it may have ended just now
    }
}

/// Enlarges the buffers, and turns on UDP_GRO, by which consecutive datagrams are received
/// together.
fn enlarge_buffers(listener: &Listener) {
    let fd = listener.as_fd();
    let _ = setsockopt(&fd, sockopt::UdpGroSegment, &true); // best effort, all of them
    if setsockopt(&fd, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        let _ = setsockopt(&fd, sockopt::RcvBuf, &SOCKET_BUFFER);
    }
    let _ = setsockopt(&fd, sockopt::SndBuf, &SOCKET_BUFFER);
}
