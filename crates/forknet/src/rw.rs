//! Reading and writing with a client: every wait has a deadline, and no write raises SIGPIPE.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};
use nix::sys::time::TimeVal;

use crate::attention::{Attention, LOOK, shutting_down};
use crate::error::strerror;
use crate::lines;
use crate::patience::{Patience, Session, Turn};
use crate::scoreboard::Progress;

/// How long an ended session waits for the client to close too, so that what it has still sent
/// does not turn our last words into a reset.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that is read and thrown away.
const LINGER_OCTETS: usize = 1 << 20;
/// A pipe that poll(2) calls writable takes this much without blocking (PIPE_BUF).
const PIPE_BUF: usize = 4096;

/// The first waits of a child for its client look at no clock; the kernel bounds each of them. A
/// child's pages are mapped anew as it comes to them, and the clients of short sessions are answered
/// before those of the clock are needed.
const WITHOUT_CLOCK: u8 = 2;

/// A client's connection: blocking, unbuffered, `Read` and `Write`.
///
/// A wait that lasts longer than the idle limit ends with [`io::ErrorKind::TimedOut`], and so does
/// a turn (all reads between two writes, or all writes between two reads) or a session that goes on
/// more slowly than 128 octets a second.
#[derive(Debug)]
pub struct Connection {
    input: OwnedFd,
    /// Where output goes when that is another descriptor than the input's (pipes).
    output: Option<OwnedFd>,
    is_socket: bool,
    /// SO_RCVTIMEO as it is set; zero where it is not.
    receive_limit: Duration,
    idle: Duration,
    turn: Turn,
    session: Session,
    /// So many waits need no clock yet.
    without_clock: u8,
    progress: Progress,
    ended: bool,
    attention: Option<Attention>,
}

impl Connection {
    /// A connected socket.
    pub(crate) fn socket(fd: OwnedFd, patience: Patience, progress: Progress) -> Connection {
        // Each reply is one write: Nagle would only hold it back (a UNIX socket declines).
        let _unix = setsockopt(&fd, sockopt::TcpNoDelay, &true);
        Connection::prepared(fd, patience, Duration::ZERO, progress)
    }

    /// A connected socket that has TCP_NODELAY and SO_RCVTIMEO from its listener already.
    pub(crate) fn prepared(
        fd: OwnedFd,
        patience: Patience,
        receive_limit: Duration,
        progress: Progress,
    ) -> Connection {
        let Patience { idle, deadline } = patience;
        Connection {
            input: fd,
            output: None,
            is_socket: true,
            receive_limit,
            idle,
            turn: Turn { reading: true, since: None, octets: 0 },
            session: Session { deadline, since: None, octets: 0 },
            without_clock: 0,
            progress,
            ended: false,
            attention: None,
        }
    }

    /// Two descriptors that are no sockets, such as standard input and output.
    pub(crate) fn pipe(
        input: OwnedFd,
        output: OwnedFd,
        patience: Patience,
        progress: Progress,
    ) -> Connection {
        let output = Some(output);
        Connection { output, is_socket: false, ..Connection::socket(input, patience, progress) }
    }

    /// What the session attends to while it waits.
    pub(crate) fn attend(&mut self, attention: Option<Attention>) {
        self.attention = attention;
    }

    /// The session's time began then.
    pub(crate) fn began(&mut self, at: Instant) {
        self.session.since = Some(at);
    }

    /// In a child of its own: the first waits need no clock, as many as fit into the session's time.
    pub(crate) fn answer_soon(&mut self) {
        let fits = |waits: &u8| self.receive_limit * u32::from(*waits) <= self.session.deadline;
        let most = (1..=WITHOUT_CLOCK).rev().find(fits).unwrap_or(0);
        self.without_clock = if self.receive_limit.is_zero() { 0 } else { most };
    }

    /// Gives back what [`Connection::attend`] was given.
    pub(crate) fn attention(&mut self) -> Option<Attention> {
        self.attention.take()
    }

    /// Changes the idle limit.
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
        self.without_clock = 0;
    }

    /// Says that nothing more will be sent: the other side reads end of file (half-close).
    ///
    /// # Errors
    /// As shutdown(2).
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if self.is_socket {
            shutdown(self.input.as_raw_fd(), Shutdown::Write)?;
        }
        self.output = None;
        Ok(())
    }

    /// The socket, for poll(2) beside other descriptors.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// What the two sides have said so far.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// No conversation after all.
    pub(crate) fn refuse(&self, words: &[u8]) {
        refuse(&self.input, words);
    }

    /// Ends the conversation so that the client gets all we said: FIN first, then what it still
    /// sends is thrown away for a moment. Closing with unread input would send a reset instead.
    pub(crate) fn linger(&mut self) {
        if self.ended || !self.is_socket || self.shutdown_write().is_err() {
            return;
        }
        if self.attention.as_ref().is_some_and(Attention::must_end) {
            return; // the server's own time is over
        }
        lines::write_out();
        self.attention = None;
        self.without_clock = 0;
        self.turn = Turn { reading: true, since: None, octets: 0 };
        self.session.deadline = Duration::MAX;
        let until = Instant::now() + LINGER;
        let mut scrap = [0; 4096];
        let mut thrown = 0;
        while thrown < LINGER_OCTETS {
            self.idle = until.saturating_duration_since(Instant::now());
            match self.read(&mut scrap) {
                Ok(0) | Err(_) => return,
                Ok(n) => thrown += n,
            }
        }
    }

    /// How long the next wait may be.
    fn allowance(&mut self) -> Duration {
        self.turn.allowance(self.idle).min(self.session.left())
    }

    fn is_idle(&self) -> bool {
        self.turn.reading && self.turn.octets == 0
    }

    /// Waits until the client can be read from or written to.
    fn wait_for(&mut self, events: PollFlags) -> io::Result<()> {
        lines::write_out();
        let until = Instant::now() + self.allowance();
        loop {
            let (idle, left) = (self.is_idle(), until.saturating_duration_since(Instant::now()));
            if idle && self.attention.as_ref().is_some_and(Attention::dismisses_idle) {
                return Err(shutting_down());
            }
            if left.is_zero() {
                return Err(timed_out());
            }
            let writes = events == PollFlags::POLLOUT;
            let fd = self.output.as_ref().filter(|_| writes).unwrap_or(&self.input);
            let client = PollFd::new(fd.as_fd(), events);
            let ready = match &self.attention {
                Some(Attention::Signals(interrupts)) => interrupts.wait(client, left)?,
                other => {
                    let beside = other.as_ref().and_then(|attention| attention.fd(idle));
                    match wait(client, beside, left)? {
                        Ready::Client => return Ok(()),
                        Ready::Beside => false,
                        Ready::Nobody => continue,
                    }
                }
            };
            self.attention.as_mut().map_or(Ok(()), Attention::heed)?;
            if ready {
                return Ok(());
            }
        }
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.attention.as_mut().map(Attention::glance);
        if self.attention.is_none() && self.is_socket {
            return self.receive(buf);
        }
        if !self.is_socket {
            self.wait_for(PollFlags::POLLIN)?;
            return Ok(nix::unistd::read(&self.input, buf)?);
        }
        if matches!(self.attention, Some(Attention::Signals(_))) {
            self.wait_for(PollFlags::POLLIN)?; // lets the signals in, however busy the client is
        }
        let flags = if self.waits_briefly() { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        Ok(recv(self.input.as_raw_fd(), buf, flags)?)
    }

    /// In a worker recv(2) waits by itself, no longer than the client may take and the worker may leave
    /// its parent alone: most clients have spoken by then, and it was one system call in place of three.
    fn waits_briefly(&mut self) -> bool {
        !self.receive_limit.is_zero()
            && self.receive_limit <= LOOK
            && self.attention.as_ref().is_some_and(Attention::can_do_without)
            && self.allowance() >= self.receive_limit
    }

    /// recv(2) that waits by itself: with nothing else to attend to, one system call is enough.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.without_clock > 0 {
            self.without_clock -= 1;
            match recv(self.input.as_raw_fd(), buf, MsgFlags::empty()) {
                Err(Errno::EAGAIN) => return Err(timed_out()), // SO_RCVTIMEO is the idle limit
                Err(Errno::EINTR) => {}
                answer => return Ok(answer?),
            }
        }
        let allowance = self.allowance();
        if allowance.is_zero() {
            return Err(timed_out());
        }
        // The kernel counts in its own ticks; a per cent more or less is no reason for a call.
        let about = self.receive_limit.mul_f64(0.99)..=self.receive_limit.mul_f64(1.01);
        if !about.contains(&allowance) {
            self.receive_limit = allowance.max(Duration::from_millis(1));
            set_receive_limit(&self.input, self.receive_limit)?;
        }
        if lines::are_kept() {
            match recv(self.input.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => lines::write_out(), // before a wait
                answer => return Ok(answer?),
            }
        }
        let begin = Instant::now();
        match recv(self.input.as_raw_fd(), buf, MsgFlags::empty()) {
            Err(Errno::EAGAIN) if begin.elapsed() >= self.receive_limit.mul_f64(0.9) => {
                Err(timed_out())
            }
            answer => Ok(answer?), // EAGAIN: a superserver has left the socket non-blocking
        }
    }

    fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.attention.as_mut().map(Attention::glance);
        if self.is_socket {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            return Ok(send(self.input.as_raw_fd(), buf, flags)?);
        }
        self.wait_for(PollFlags::POLLOUT)?;
        let out = self.output.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(nix::unistd::write(out, buf.get(..PIPE_BUF).unwrap_or(buf))?)
    }

    fn count(&mut self, octets: usize) {
        self.turn.octets += octets as u64;
        self.session.octets += octets as u64;
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.turn.start(true);
        loop {
            match self.try_read(buf) {
                Ok(n) => {
                    self.count(n);
                    self.progress.received(n);
                    self.ended |= n == 0 && !buf.is_empty();
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::POLLIN)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.ended |= e.kind() == io::ErrorKind::ConnectionReset;
                    return Err(e);
                }
            }
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.turn.start(false);
        loop {
            match self.try_write(buf) {
                Ok(n) => {
                    self.count(n);
                    self.progress.sent(n);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::POLLOUT)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.ended = true;
                    return Err(e);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(Errno::ETIMEDOUT as i32)
}

/// SO_RCVTIMEO: no recv(2) on this socket waits longer.
pub(crate) fn set_receive_limit(fd: &impl AsFd, limit: Duration) -> nix::Result<()> {
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
    let time = TimeVal::new(seconds, limit.subsec_micros().into());
    setsockopt(fd, sockopt::ReceiveTimeout, &time)
}

/// What a wait has found.
enum Ready {
    Client,
    Beside,
    Nobody,
}

/// poll(2) for at most `allowance`.
fn wait(
    client: PollFd<'_>,
    beside: Option<BorrowedFd<'_>>,
    allowance: Duration,
) -> io::Result<Ready> {
    // Rounded up: a wait of 0.4 ms must not become a spin of zero ones.
    let millis = allowance.as_nanos().div_ceil(1_000_000);
    let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
    let (mut alone, mut both);
    let fds: &mut [PollFd<'_>] = match beside {
        None => {
            alone = [client];
            &mut alone
        }
        Some(fd) => {
            both = [client, PollFd::new(fd, PollFlags::POLLIN)];
            &mut both
        }
    };
    lines::write_out();
    match poll(fds, timeout) {
        Ok(0) | Err(Errno::EINTR) => Ok(Ready::Nobody),
        Ok(_) if fds.first().is_some_and(|fd| fd.any() != Some(false)) => Ok(Ready::Client),
        Ok(_) => Ok(Ready::Beside),
        Err(errno) => Err(errno.into()),
    }
}

/// The parent's word to a client that is not served: never blocks, and what the client has said
/// already is thrown away, so that it reads the words and an end of file, not a reset.
pub(crate) fn refuse(conn: &OwnedFd, words: &[u8]) {
    let fd = conn.as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    if let Err(errno) = send(fd, words, flags) {
        log::debug!("refusal not sent: {}", strerror(errno));
    }
    let mut scrap = [0; 4096];
    let _gone = shutdown(fd, Shutdown::Write);
    for _ in 0..16 {
        if !matches!(recv(fd, &mut scrap, MsgFlags::MSG_DONTWAIT), Ok(1..)) {
            break;
        }
    }
}

#[cfg(test)]
#[path = "rw_tests.rs"]
mod tests;
