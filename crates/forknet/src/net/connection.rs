//! Reading and writing with a client: every wait has a deadline, and no write raises SIGPIPE.

mod proxied;
pub(crate) mod secured;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use smallvec::SmallVec;

use crate::log::stderr;
use crate::net::counters::Counters;
use crate::net::deadlines::{SessionClock, Timeouts, TurnClock};
use crate::net::interrupt::{Interrupts, Waited, Woken, wait};
use crate::net::proxy_protocol::Guard;
use crate::net::tls::Tls;

/// Longest wait of an ended session for the client to close, so that unread input does not make the
/// kernel reset the connection before the client has received the last reply.
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes that are read and dropped meanwhile.
const LINGER_BYTES: usize = 1 << 20;
/// Bytes that a pipe takes without blocking when poll(2) calls it writable.
const PIPE_BUF: usize = 4096;

/// A client's connection: blocking, unbuffered, `Read` and `Write`.
///
/// A wait longer than the idle limit fails with [`io::ErrorKind::TimedOut`]. So does a turn (all
/// reads between two writes, or all writes between two reads) or a session slower than 128 bytes a
/// second.
#[derive(Debug)]
pub struct Connection {
    input: OwnedFd,
    /// The output, where that is another descriptor than the input (pipes).
    output: Option<OwnedFd>,
    is_socket: bool,
    /// SO_RCVTIMEO; zero where it is not set.
    receive_timeout: Duration,
    idle: Duration,
    turn: TurnClock,
    session: SessionClock,
    counters: Counters,
    /// The client has closed or reset the connection.
    has_ended: bool,
    interrupts: Option<Box<dyn Interrupts>>,
    /// Between what is read and written and the client, where there is TLS.
    tls: Option<Box<dyn Tls>>,
    /// Time of the last [`Interrupts::poll_now`].
    polled: Instant,
    /// Looks at the first bytes of a client that is no proxy.
    guard: Option<Guard>,
    /// The client has said PROXY, and is no proxy.
    says_proxy: bool,
}

impl Connection {
    /// Wraps a connected socket.
    pub(crate) fn socket(fd: OwnedFd, timeouts: Timeouts, counters: Counters) -> Connection {
        // Each reply is one write, which Nagle's algorithm would delay. Fails on a UNIX socket.
        let _ = setsockopt(&fd, sockopt::TcpNoDelay, &true); // best effort
        let mut connection = Connection::new(fd, timeouts, Duration::ZERO, Instant::now());
        connection.set_counters(counters);
        connection
    }

    /// Wraps a socket that was accepted at this instant. From a listener with SO_RCVTIMEO it has
    /// inherited that and TCP_NODELAY.
    pub(crate) fn accepted(
        fd: OwnedFd,
        timeouts: Timeouts,
        receive_timeout: Duration,
        at: Instant,
    ) -> Connection {
        if receive_timeout.is_zero() {
            let _ = setsockopt(&fd, sockopt::TcpNoDelay, &true); // best effort, as above
        }
        Connection::new(fd, timeouts, receive_timeout, at)
    }

    fn new(
        fd: OwnedFd,
        timeouts: Timeouts,
        receive_timeout: Duration,
        since: Instant,
    ) -> Connection {
        Connection {
            input: fd,
            output: None,
            is_socket: true,
            receive_timeout,
            idle: timeouts.idle,
            turn: TurnClock::new(true),
            session: SessionClock::new(timeouts.deadline, since),
            counters: Counters::default(),
            has_ended: false,
            interrupts: None,
            tls: None,
            polled: since,
            guard: None,
            says_proxy: false,
        }
    }

    /// Wraps what another process hands over: a socket, or two descriptors that are none. The client has
    /// used this much time and these many bytes of its session already.
    pub(crate) fn taken_over(
        input: OwnedFd,
        output: Option<OwnedFd>,
        timeouts: Timeouts,
        (used, bytes): (Duration, u64),
    ) -> Connection {
        let now = Instant::now();
        let since = now.checked_sub(used).unwrap_or(now);
        // SO_RCVTIMEO may be set; what another process says of it is not relied on.
        let mut connection = Connection::new(input, timeouts, Duration::ZERO, since);
        connection.session.count(bytes);
        Connection { is_socket: output.is_none(), output, ..connection }
    }

    /// Wraps a connected socket that another process has made; a wait lasts `idle` at most. Makes no system call.
    #[must_use]
    pub fn made_elsewhere(fd: OwnedFd, idle: Duration) -> Connection {
        Connection::new(fd, Timeouts::idle(idle), Duration::ZERO, Instant::now())
    }

    /// Returns the time and the bytes that the session has used.
    pub(crate) fn used(&self) -> (Duration, u64) {
        self.session.used()
    }

    /// Returns when the session began.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.session.since()
    }

    /// Returns the input, and the output where that is another descriptor.
    pub(crate) fn descriptors(&self) -> (BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        (self.input.as_fd(), self.output.as_ref().map(AsFd::as_fd))
    }

    /// Waits, for at most `limit`, until one of these descriptors is ready, or, for the events that are not
    /// empty, the client.
    ///
    /// # Errors
    /// What interrupts the session.
    pub(crate) fn wait_beside(
        &mut self,
        (others, client): (&[Waited<'_>], PollFlags),
        is_idle: bool,
        limit: Duration,
    ) -> io::Result<bool> {
        let mut all: SmallVec<[Waited<'_>; 4]> = others.iter().copied().collect();
        match &self.output {
            Some(output) => all.extend([
                (self.input.as_fd(), client & PollFlags::POLLIN),
                (output.as_fd(), client & PollFlags::POLLOUT),
            ]),
            None => all.push((self.input.as_fd(), client)),
        }
        all.retain(|(_, events)| !events.is_empty());
        match &mut self.interrupts {
            Some(interrupts) => interrupts.wait(&all, is_idle, limit),
            None => Ok(wait(&all, [None, None], limit)? == Woken::Client),
        }
    }

    /// Waits for at most `limit` until the client sends something or closes; returns whether it has. Reads nothing.
    ///
    /// # Errors
    /// What interrupts the session.
    pub fn is_readable_within(&mut self, limit: Duration) -> io::Result<bool> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.wait_beside((&[], PollFlags::POLLIN), true, left)? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Counts what another process has received and sent.
    pub(crate) fn count_others(&self, received: u64, sent: u64) {
        self.counters.received(usize::try_from(received).unwrap_or(usize::MAX));
        self.counters.sent(usize::try_from(sent).unwrap_or(usize::MAX));
    }

    /// Leaves the end of the connection to another process.
    pub(crate) fn leave_to_other(&mut self) {
        self.has_ended = true;
    }

    /// Wraps two descriptors that are no sockets, such as standard input and output.
    pub(crate) fn pipe(
        input: OwnedFd,
        output: OwnedFd,
        timeouts: Timeouts,
        counters: Counters,
    ) -> Connection {
        let output = Some(output);
        Connection { output, is_socket: false, ..Connection::socket(input, timeouts, counters) }
    }

    /// Sets the counters of bytes.
    pub(crate) fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Sets what interrupts the waits: the end of the server.
    pub(crate) fn set_interrupts(&mut self, interrupts: Option<Box<dyn Interrupts>>) {
        self.interrupts = interrupts;
    }

    /// Returns the idle limit.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
    }

    /// Changes the idle limit.
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// Begins a turn, of reading or of writing, whose waits last `idle` at most: one reply, not all of a group.
    pub fn begin_turn(&mut self, reads: bool, idle: Duration) {
        (self.turn, self.idle) = (TurnClock::new(reads), idle);
    }

    /// Half-closes: the peer reads end of file.
    ///
    /// # Errors
    /// As shutdown(2); those of sending that TLS ends.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if let Some(mut tls) = self.tls.take() {
            tls.close();
            let sent = self.send_records(&mut *tls);
            self.tls = Some(tls);
            sent?;
        }
        self.shutdown_below()
    }

    /// Returns the socket, for poll(2) with other descriptors.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Ends the session so that the client receives the last reply: sends FIN, then drops what the
    /// client still sends, for [`LINGER`] at most. Closing with unread input would send a reset.
    #[inline(never)] // keeps its buffer out of the caller's frame
    pub(crate) fn linger(&mut self) {
        if self.has_ended {
            return;
        }
        self.idle = self.idle.min(LINGER);
        if self.shutdown_write().is_err() || !self.is_socket {
            return;
        }
        if self.interrupts.take().is_some_and(|interrupts| interrupts.must_end()) {
            return; // the server ends now
        }
        self.turn = TurnClock::new(true);
        self.session.deadline = Duration::MAX;
        let until = Instant::now() + LINGER;
        let mut scrap = [0; 4096];
        let mut thrown = 0;
        while thrown < LINGER_BYTES {
            self.idle = until.saturating_duration_since(Instant::now());
            match self.read_below(&mut scrap) {
                Ok(0) | Err(_) => return,
                Ok(n) => thrown += n,
            }
        }
    }

    /// Returns the longest time of the next wait.
    fn time_left(&self) -> Duration {
        self.turn.left(self.idle).min(self.session.left())
    }

    /// Waits until the client is readable or writable.
    fn wait_for(&mut self, events: PollFlags) -> io::Result<()> {
        stderr::flush();
        let until = Instant::now() + self.time_left();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT.into());
            }
            let writes = events == PollFlags::POLLOUT;
            let fd = self.output.as_ref().filter(|_| writes).unwrap_or(&self.input);
            let client = [(fd.as_fd(), events)];
            let is_ready = match &mut self.interrupts {
                Some(interrupts) => interrupts.wait(&client, self.turn.is_idle(), left)?,
                None => wait(&client, [None, None], left)? == Woken::Client,
            };
            if is_ready {
                return Ok(());
            }
        }
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.is_socket {
            self.wait_for(PollFlags::POLLIN)?;
            return Ok(nix::unistd::read(&self.input, buf)?);
        }
        self.poll_interrupts()?;
        let flags = if self.kernel_may_wait() { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        Ok(recv(self.input.as_raw_fd(), buf, flags)?)
    }

    fn poll_interrupts(&mut self) -> io::Result<()> {
        match &mut self.interrupts {
            Some(interrupts) if self.polled.elapsed() >= interrupts.poll_interval() => {
                self.polled = Instant::now();
                interrupts.poll_now()
            }
            _ => Ok(()),
        }
    }

    /// Returns true when recv(2) may block, because SO_RCVTIMEO ends it before any other timeout.
    /// Most clients send by then, so that one system call replaces three.
    fn kernel_may_wait(&self) -> bool {
        let limit = self.receive_timeout;
        !limit.is_zero()
            && !stderr::has_pending()
            && self.interrupts.as_ref().is_none_or(|interrupts| interrupts.poll_interval() >= limit)
            && self.time_left() >= limit
    }

    fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.is_socket {
            self.poll_interrupts()?;
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            return Ok(send(self.input.as_raw_fd(), buf, flags)?);
        }
        self.wait_for(PollFlags::POLLOUT)?;
        self.write_pipe(buf)
    }

    fn write_pipe(&self, buf: &[u8]) -> io::Result<usize> {
        let out = self.output.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(nix::unistd::write(out, buf.get(..PIPE_BUF).unwrap_or(buf))?)
    }

    fn count(&mut self, bytes: usize) {
        self.turn.count(bytes as u64);
        self.session.count(bytes as u64);
    }
}

impl Connection {
    /// Reads from the client, below TLS.
    fn read_below(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.turn.start(true);
        loop {
            match self.try_read(buf) {
                Ok(n) => {
                    self.count(n);
                    self.counters.received(n);
                    self.has_ended |= n == 0 && !buf.is_empty();
                    self.check_guard(buf.get(..n).unwrap_or_default())?;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // Flush kept lines first; then recv may block.
                    if stderr::has_pending() {
                        stderr::flush();
                    } else {
                        self.wait_for(PollFlags::POLLIN)?;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.has_ended |= e.kind() == io::ErrorKind::ConnectionReset;
                    return Err(e);
                }
            }
        }
    }

    /// Writes to the client, below TLS.
    fn write_below(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.turn.start(false);
        loop {
            match self.try_write(buf) {
                Ok(n) => {
                    self.count(n);
                    self.counters.sent(n);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::POLLOUT)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.has_ended = true;
                    return Err(e);
                }
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(mut tls) = self.tls.take() else { return self.read_below(buf) };
        let answer = self.read_text(&mut *tls, buf);
        self.tls = Some(tls);
        answer
    }
}

impl Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(mut tls) = self.tls.take() else { return self.write_below(buf) };
        let answer = self.write_text(&mut *tls, buf);
        self.tls = Some(tls);
        answer
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(mut tls) = self.tls.take() else { return Ok(()) };
        let answer = self.send_records(&mut *tls);
        self.tls = Some(tls);
        answer
    }
}

/// Sets SO_RCVTIMEO, the longest wait of a recv(2).
pub(crate) fn set_receive_timeout(fd: &impl AsFd, limit: Duration) -> nix::Result<()> {
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
    let time = TimeVal::new(seconds, limit.subsec_micros().into());
    setsockopt(fd, sockopt::ReceiveTimeout, &time)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
