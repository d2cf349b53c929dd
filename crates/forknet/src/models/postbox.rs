//! One process and one port for all clients: nobody is forked, and each datagram is told apart by
//! its sender. For a server behind NAT or in a container, where no second port is let through.
//!
//! The service's own loop asks [`Postbox::next`] what there is to do, as `dg_echo` asks recvfrom.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, SockaddrStorage, getsockopt, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use crate::accept::Peer;
use crate::awake::Awake;
use crate::burst::Bursts;
use crate::error::{Result, strerror};
use crate::errqueue::{comes_from_the_way, keep_errors, next_error};
use crate::fork::{Fork, child, fork};
use crate::limits::Refusal;
use crate::listen::Listener;
use crate::parent::{Parent, Round};
use crate::ready::Ready;
use crate::recvfrom::{Arrived, Source, is_v6, receive_into};
use crate::scoreboard::Progress;
use crate::transcript::Transcript;

/// Longer than any datagram.
const LONGEST: usize = 1 << 16;
/// How much may wait to be read and to be sent, in octets, if the kernel lets us: all clients share
/// one socket.
const BUFFER: usize = 4 << 20;
/// So many datagrams are read before signals and the clock have their turn.
const ROUND: u32 = 64;
/// How often a packet is handed over anew when an error of an earlier one came in its place.
const MAX_ERRORS: usize = 16;
/// For so long at most nothing but datagrams is heard.
const DEAF: Duration = Duration::from_millis(5);
/// How often a stopping server looks whether it may end.
const LOOK: Duration = Duration::from_millis(100);

/// The service's sockets, in the one process that serves all clients.
#[derive(Debug)]
pub struct Postbox {
    /// The file of `--transcript`; say whose dialogue it is before each line.
    pub transcript: Transcript,
    parent: Parent,
    buffer: Box<[u8]>,
    /// The present datagram in the buffer.
    datagram: Range<usize>,
    /// Those after it that came together with it, and whose they are.
    waiting: Option<(Range<usize>, Caller)>,
    /// The sockets that have something, and how much may still be read in this round.
    ready: Ready,
    reading: Option<usize>,
    left: u32,
    stop: Option<Stop>,
    awake: Awake,
    /// How long it takes until something comes, about, where clients are served.
    usual: Option<Duration>,
    /// When signals were let in last.
    heeded: Instant,
}

/// SIGTERM came.
#[derive(Debug)]
struct Stop {
    until: Instant,
    signals: usize,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A datagram has come; [`Postbox::datagram`] has it.
    Letter(Caller),
    /// The port of a client's is closed.
    Gone(SocketAddr),
    /// A process of [`Postbox::errand`] has ended, with this exit code; `None` if by a signal.
    Errand(i32, Option<i32>),
    /// Somebody wants to know who is served (SIGUSR1).
    Table,
    /// Nothing, but time has passed.
    Time,
    /// The server is to end.
    Over,
}

/// Who sent a datagram, and on what way the answer goes back: from the address that was asked.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub peer: SocketAddr,
    listener: usize,
    name: SockaddrStorage,
    /// Our address that was asked, with port 0.
    local: SocketAddr,
}

impl Caller {
    /// True where both have asked the same address of ours.
    #[must_use]
    pub fn asks_where(&self, other: &Caller) -> bool {
        (self.listener, self.local) == (other.listener, other.local)
    }
}

impl Postbox {
    pub(crate) fn new(mut parent: Parent) -> Postbox {
        for listener in &parent.listeners {
            if let Err(errno) = keep_errors(listener, is_v6(listener)) {
                warn!("setsockopt IP_RECVERR: {}", strerror(errno));
            }
            make_room(listener);
        }
        Postbox {
            transcript: Transcript::of_nobody(parent.transcript.take()),
            parent,
            buffer: vec![0; LONGEST].into_boxed_slice(),
            datagram: 0..0,
            waiting: None,
            ready: Ready::default(),
            reading: None,
            left: 0,
            stop: None,
            awake: Awake::default(),
            usual: None,
            heeded: Instant::now(),
        }
    }

    /// What has happened: waits for it, until `until` at the latest. `clients` are served now.
    ///
    /// # Errors
    /// ppoll(2) failed.
    pub fn next(&mut self, until: Option<Instant>, clients: usize) -> Result<Event> {
        self.parent.own_clients = clients;
        if let Some(event) = self.at_hand() {
            return Ok(event);
        }
        let begin = Instant::now();
        if let Some(event) = self.look(until, clients, begin) {
            return Ok(event);
        }
        self.wait(until, clients)?;
        self.heeded = Instant::now();
        let took = self.heeded.duration_since(begin);
        self.usual = Some(self.usual.map_or(took, |usual| usual * 7 / 8 + took / 8));
        if self.is_over(clients) {
            info!("stopped");
            return Ok(Event::Over);
        }
        Ok(self.at_hand().unwrap_or(Event::Time))
    }

    /// What needs no waiting.
    fn at_hand(&mut self) -> Option<Event> {
        if let Some(ended) = self.parent.errands.pop() {
            let code = libc::WIFEXITED(ended.status).then(|| libc::WEXITSTATUS(ended.status));
            return Some(Event::Errand(ended.pid, code));
        }
        if std::mem::take(&mut self.parent.table_wanted) {
            return Some(Event::Table);
        }
        if let Some((rest, caller)) = self.waiting.take() {
            return Some(Event::Letter(self.turn_to(rest, caller)));
        }
        while self.left > 0 {
            let again = self.reading.is_some();
            let Some(listener) = self.reading.or_else(|| self.ready.next()) else { break };
            self.reading = Some(listener);
            self.left -= 1;
            match self.receive(listener) {
                Ok(Some(caller)) => return Some(Event::Letter(caller)),
                Ok(None) | Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) if again => self.reading = None,
                // It is ready because of an error, which perhaps a send has met already.
                Err(errno) => {
                    self.reading = None;
                    log::debug!("recvmsg: {}", strerror(errno));
                    let gone = self.gone(listener);
                    if gone.is_some() {
                        return gone;
                    }
                }
            }
        }
        (self.reading, self.left) = (None, 0);
        None
    }

    /// Looks for the next datagram without going to sleep, where it usually comes at once; but not
    /// for so long that signals or the clock would have to wait.
    fn look(&mut self, until: Option<Instant>, clients: usize, begin: Instant) -> Option<Event> {
        let deaf = self.heeded + DEAF;
        let until = until.map_or(deaf, |until| until.min(deaf));
        let alone = self.parent.listeners.len() == 1 && self.stop.is_none();
        if clients == 0 || !alone || begin >= until {
            return None;
        }
        let end = (begin + self.awake.time(self.usual)).min(until);
        let mut now = begin;
        while now < end {
            (self.reading, self.left) = (Some(0), ROUND);
            let event = self.at_hand();
            if event.is_some() {
                if now > begin {
                    self.awake.looked(true);
                }
                return event;
            }
            now = Instant::now();
        }
        if end > begin {
            self.awake.looked(false);
        }
        None
    }

    fn receive(&mut self, number: usize) -> nix::Result<Option<Caller>> {
        let Some(listener) = self.parent.listeners.get(number) else { return Err(Errno::EAGAIN) };
        let came = receive_into(listener, &mut self.buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(came.map(|Arrived { length, size, peer, name, local, .. }| {
            self.datagram = 0..size.clamp(1, length.max(1)); // what the first one is cut by
            self.turn_to(0..length, Caller { peer, listener: number, name, local })
        }))
    }

    /// The first datagram of these is the present one; each is as long as the one before, but for the
    /// last.
    fn turn_to(&mut self, rest: Range<usize>, caller: Caller) -> Caller {
        let end = (rest.start + self.datagram.len()).min(rest.end);
        self.datagram = rest.start..end;
        self.waiting = (end < rest.end).then(|| (end..rest.end, caller.clone()));
        caller
    }

    /// Whose port is closed; other errors are of no client.
    fn gone(&self, number: usize) -> Option<Event> {
        let listener = self.parent.listeners.get(number)?;
        (0..ROUND)
            .map_while(|_| next_error(listener))
            .find_map(|(errno, to)| to.filter(|_| errno == Errno::ECONNREFUSED).map(Event::Gone))
    }

    /// The datagram of the last [`Event::Letter`].
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        self.buffer.get(self.datagram.clone()).unwrap_or_default()
    }

    /// ppoll, which lets signals in.
    fn wait(&mut self, until: Option<Instant>, clients: usize) -> Result<()> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.left = ROUND;
        if self.stop.is_some() {
            return self.wait_while_stopping(left, clients);
        }
        self.parent.look = left;
        self.ready = self.parent.wait(Round { accepting: true, clients })?;
        if self.parent.must_stop(clients) {
            let grace = self.parent.options.grace;
            self.parent.notifier.stopping(clients, grace + LOOK);
            if clients > 0 {
                info!("stopping: {clients} clients, {grace:?} to end");
            }
            let signals = self.parent.signals.stops();
            self.stop = Some(Stop { until: Instant::now() + grace, signals });
        }
        Ok(())
    }

    fn wait_while_stopping(&mut self, left: Option<Duration>, clients: usize) -> Result<()> {
        self.parent.titles.stopping(clients);
        let beat = self.parent.notifier.beat();
        let timeout = [left, beat].into_iter().flatten().fold(LOOK, Duration::min);
        let listeners = self.parent.listeners.iter();
        let mut fds: Vec<_> =
            listeners.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        self.ready = Ready::default();
        if self.parent.signals.wait(&mut fds, Some(TimeSpec::from(timeout)))? {
            let readable = (0..).zip(&fds).filter(|(_, fd)| fd.any() != Some(false));
            readable.for_each(|(number, _)| self.ready.add(number));
        }
        self.parent.heed_signals();
        Ok(())
    }

    /// Clients may end what they have begun, for `--grace` or until a second SIGTERM.
    fn is_over(&self, clients: usize) -> bool {
        self.stop.as_ref().is_some_and(|stop| {
            let hurry = self.parent.signals.stops() > stop.signals;
            clients == 0 || hurry || Instant::now() >= stop.until
        })
    }

    /// True when nobody new is served any more.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Counts a client more.
    ///
    /// # Errors
    /// Which limit that would break.
    pub fn admit(&mut self, peer: SocketAddr) -> std::result::Result<Progress, Refusal> {
        self.parent.children.admit(Peer::Ip(peer))
    }

    /// Counts a client less.
    pub fn dismiss(&mut self, peer: SocketAddr, progress: Progress) {
        self.parent.children.dismiss(Peer::Ip(peer), progress);
    }

    /// Tells a client that it is not served.
    pub fn refuse(&mut self, caller: &Caller) {
        let busy = std::mem::take(&mut self.parent.busy);
        let _lost = self.send(caller, &busy, busy.len(), &mut Bursts::default());
        self.parent.busy = busy;
    }

    /// Sends the first of the datagrams in `row`, of `size` octets each, the last one perhaps
    /// shorter; gives the octets of those that were sent. Never blocks.
    ///
    /// # Errors
    /// EAGAIN when there is no room now; what else the system call says.
    pub fn send(
        &self,
        to: &Caller,
        row: &[u8],
        size: usize,
        bursts: &mut Bursts,
    ) -> nix::Result<usize> {
        let listener = self.parent.listeners.get(to.listener).ok_or(Errno::EBADF)?;
        let (flags, source) = (MsgFlags::MSG_DONTWAIT, Source::of(to.local));
        let send = || bursts.send_as(listener, row, size, &to.name, Some(&source), flags);
        // An error may be of an earlier packet, to somebody else.
        let mut tries = std::iter::repeat_with(send).take(MAX_ERRORS);
        let answer = tries.find(|sent| !sent.is_err_and(comes_from_the_way));
        answer.unwrap_or(Err(Errno::ECONNREFUSED))
    }

    /// Octets that wait to be read at most, as the kernel counts them.
    #[must_use]
    pub fn room(&self) -> usize {
        let room = |listener| getsockopt(listener, sockopt::RcvBuf).unwrap_or_default();
        self.parent.listeners.iter().map(room).min().unwrap_or_default()
    }

    /// Work that takes its time, in a process of its own, which ends with the exit code that `work`
    /// gives; [`Event::Errand`] tells it.
    ///
    /// # Errors
    /// fork(2) failed.
    pub fn errand(&mut self, of: SocketAddr, work: impl FnOnce() -> i32) -> nix::Result<i32> {
        match fork()? {
            Fork::Parent(pid) => Ok(pid.as_raw()),
            Fork::Child => child(|| {
                self.parent.titles.client(Peer::Ip(of));
                self.parent.become_child();
                work()
            }),
        }
    }

    /// Ends an errand that takes too long.
    pub fn cancel(&self, errand: i32) {
        let _ended_just_now = kill(Pid::from_raw(errand), Signal::SIGKILL);
    }

    /// The idle limit of `--timeout`, and the one of a whole transfer, `--deadline`.
    #[must_use]
    pub fn limits(&self) -> (Duration, Duration) {
        (self.parent.options.timeout, self.parent.options.deadline)
    }
}

/// As much as the kernel allows; and datagrams that come in a row are handed over together.
fn make_room(listener: &Listener) {
    let _one_by_one = setsockopt(listener, sockopt::UdpGroSegment, &true);
    if setsockopt(listener, sockopt::RcvBufForce, &BUFFER).is_err() {
        let _as_large_as_allowed = setsockopt(listener, sockopt::RcvBuf, &BUFFER);
    }
    let _as_large_as_allowed = setsockopt(listener, sockopt::SndBuf, &BUFFER);
}
