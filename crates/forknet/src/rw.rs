//! Reading and writing with a client: every wait has a deadline, and no write raises SIGPIPE.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};

use crate::error::strerror;
use crate::scoreboard::Progress;

/// The slowest client that is still served, in octets a second: a turn may last the idle limit and
/// a second more for each so many octets. One byte a second does not keep a process for ever.
const MIN_RATE: u64 = 128;
/// How long an ended session waits for the client to close too, so that what it has still sent
/// does not turn our last words into a reset.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that is read and thrown away.
const LINGER_OCTETS: usize = 1 << 20;
/// A pipe that poll(2) calls writable takes this much without blocking (PIPE_BUF).
const PIPE_BUF: usize = 4096;

/// A client's connection: blocking, unbuffered, `Read` and `Write`.
///
/// A wait that lasts longer than the idle limit ends with [`io::ErrorKind::TimedOut`], and so does
/// a turn (all reads between two writes, or all writes between two reads) that goes on more slowly
/// than 128 octets a second.
#[derive(Debug)]
pub struct Connection {
    input: OwnedFd,
    /// Where output goes when that is another descriptor than the input's (pipes).
    output: Option<OwnedFd>,
    is_socket: bool,
    idle: Duration,
    turn: Turn,
    progress: Progress,
    ended: bool,
    /// Readable once the server is shutting down.
    shutdown: Option<OwnedFd>,
}

/// Who is speaking, since when, and how much was said.
#[derive(Debug)]
struct Turn {
    reading: bool,
    since: Option<Instant>,
    octets: u64,
}

impl Turn {
    fn start(&mut self, reading: bool) {
        if self.reading != reading {
            *self = Turn { reading, since: None, octets: 0 };
        }
    }

    /// How long this turn may still wait for the next octet.
    fn allowance(&mut self, idle: Duration) -> Duration {
        let since = *self.since.get_or_insert_with(Instant::now);
        let whole = idle.saturating_add(Duration::from_secs(self.octets / MIN_RATE));
        whole.saturating_sub(since.elapsed()).min(idle)
    }
}

impl Connection {
    /// A connected socket.
    pub(crate) fn socket(fd: OwnedFd, idle: Duration, progress: Progress) -> Connection {
        // Each reply is one write: Nagle would only hold it back (a UNIX socket declines).
        let _unix = setsockopt(&fd, sockopt::TcpNoDelay, &true);
        Connection {
            input: fd,
            output: None,
            is_socket: true,
            idle,
            turn: Turn { reading: true, since: None, octets: 0 },
            progress,
            ended: false,
            shutdown: None,
        }
    }

    /// Two descriptors that are no sockets, such as standard input and output.
    pub(crate) fn pipe(
        input: OwnedFd,
        output: OwnedFd,
        idle: Duration,
        progress: Progress,
    ) -> Connection {
        let output = Some(output);
        Connection { output, is_socket: false, ..Connection::socket(input, idle, progress) }
    }

    /// Lets an idle wait end with `ConnectionAborted` when `shutdown` becomes readable.
    pub(crate) fn heed(&mut self, shutdown: Option<OwnedFd>) {
        self.shutdown = shutdown;
    }

    /// Changes the idle limit.
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
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

    /// Ends the conversation so that the client gets all we said: FIN first, then what it still
    /// sends is thrown away for a moment. Closing with unread input would send a reset instead.
    pub(crate) fn linger(mut self) {
        if self.ended || !self.is_socket || self.shutdown_write().is_err() {
            return;
        }
        self.shutdown = None;
        self.turn = Turn { reading: true, since: None, octets: 0 };
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

    fn wait_readable(&mut self) -> io::Result<()> {
        let allowance = self.turn.allowance(self.idle);
        let heed = if self.turn.octets == 0 { self.shutdown.as_ref() } else { None };
        let client = PollFd::new(self.input.as_fd(), PollFlags::POLLIN);
        let Some(shutdown) = heed else { return wait(&mut [client], allowance) };
        let mut fds = [client, PollFd::new(shutdown.as_fd(), PollFlags::POLLIN)];
        wait(&mut fds, allowance)?;
        let [client, _] = fds;
        if client.any() == Some(false) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "shutting down"));
        }
        Ok(())
    }

    fn wait_writable(&mut self) -> io::Result<()> {
        let allowance = self.turn.allowance(self.idle);
        let out = self.output.as_ref().unwrap_or(&self.input);
        wait(&mut [PollFd::new(out.as_fd(), PollFlags::POLLOUT)], allowance)
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_socket {
            return Ok(recv(self.input.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)?);
        }
        self.wait_readable()?;
        Ok(nix::unistd::read(&self.input, buf)?)
    }

    fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.is_socket {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            return Ok(send(self.input.as_raw_fd(), buf, flags)?);
        }
        self.wait_writable()?;
        let out = self.output.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(nix::unistd::write(out, buf.get(..PIPE_BUF).unwrap_or(buf))?)
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.turn.start(true);
        loop {
            match self.try_read(buf) {
                Ok(n) => {
                    self.turn.octets += n as u64;
                    self.progress.received(n);
                    self.ended |= n == 0 && !buf.is_empty();
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait_readable()?,
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
                    self.turn.octets += n as u64;
                    self.progress.sent(n);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait_writable()?,
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

/// poll(2) for at most `allowance`; `TimedOut` when nothing came.
fn wait(fds: &mut [PollFd<'_>], allowance: Duration) -> io::Result<()> {
    let until = Instant::now() + allowance;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a wait of 0.4 ms must not become a spin of zero ones.
        let millis = left.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(fds, timeout) {
            Ok(0) if until <= Instant::now() => {
                return Err(io::Error::from_raw_os_error(Errno::ETIMEDOUT as i32));
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
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
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    fn pair(idle: Duration) -> (Connection, Connection) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
        let end = |fd| Connection::socket(fd, idle, Progress::unshared());
        (end(a), end(b))
    }

    #[test]
    fn a_silent_client_times_out() {
        let (mut a, _b) = pair(Duration::from_millis(20));
        let error = a.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_trickle_ends_with_its_turn() {
        let (mut a, mut b) = pair(Duration::from_millis(100));
        let trickle = std::thread::spawn(move || {
            while b.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let mut octets = 0;
        let error = loop {
            match a.read(&mut [0; 8]) {
                Ok(n) => octets += n,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(octets > 0);
        drop(a);
        trickle.join().unwrap();
    }

    #[test]
    fn a_farewell_is_no_longer_than_it_should_be_for_a_client_that_goes_on_talking() {
        let (a, mut b) = pair(Duration::from_secs(60));
        let talk = std::thread::spawn(move || {
            while b.write_all(&[b'x'; 64]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let since = Instant::now();
        a.linger();
        assert!(since.elapsed() < LINGER * 2);
        talk.join().unwrap();
    }

    #[test]
    fn a_write_to_a_closed_peer_is_an_error_and_no_signal() {
        let (mut a, b) = pair(Duration::from_secs(1));
        drop(b);
        assert_eq!(a.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_peer_that_never_reads_times_out_a_write() {
        let (mut a, _b) = pair(Duration::from_millis(20));
        let error = a.write_all(&vec![0; 8 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
