//! The echo client for streams, which waits for its user and its server together.

use std::io::{self, Read, Stdin, StdoutLock, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use forknet::{Connection, Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// Bytes that are read at once.
const MAXLINE: usize = 16 * 1024;
const POLLINOUT: PollFlags = PollFlags::POLLIN.union(PollFlags::POLLOUT);

/// Slide "Crashing of Server Process": a client blocked in fgets does not see the server's FIN, so
/// this one waits for standard input and the socket together.
///
/// # Errors
/// The server has closed, is silent for longer than `timeout` while an echo is due, or sends back
/// fewer bytes than it received.
pub fn str_cli(sock: Connection, timeout: Duration) -> Result<()> {
    let mut client = Client {
        stdin: io::stdin(),
        stdout: io::stdout().lock(),
        sock,
        timeout,
        unsent: Vec::new(),
        typing: true,
        sent: 0,
        received: 0,
        last_read: Instant::now(),
    };
    client.talk()
}

struct Client {
    stdin: Stdin,
    stdout: StdoutLock<'static>,
    sock: Connection,
    timeout: Duration,
    /// Read from standard input, but not sent yet.
    unsent: Vec<u8>,
    /// Standard input has not ended.
    typing: bool,
    sent: u64,
    received: u64,
    /// The last time when the server sent something, or no echo was due.
    last_read: Instant,
}

/// The result of poll(2).
struct Ready {
    stdin: bool,
    readable: bool,
    writable: bool,
}

impl Client {
    fn talk(&mut self) -> Result<()> {
        loop {
            let ready = self.wait()?;
            if ready.readable && self.print_echo()? {
                return self.at_end();
            }
            if ready.writable {
                self.send_unsent()?;
            }
            if ready.stdin {
                self.read_stdin()?;
            }
        }
    }

    fn wait(&mut self) -> Result<Ready> {
        let fd = self.sock.fd();
        let wanted = if self.unsent.is_empty() { PollFlags::POLLIN } else { POLLINOUT };
        let mut fds = vec![PollFd::new(fd, wanted)];
        if self.typing && self.unsent.is_empty() {
            fds.push(PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN));
        }
        let due = self.sent > self.received || !self.unsent.is_empty() || !self.typing;
        let left = self.timeout.saturating_sub(self.last_read.elapsed());
        let millis = left.as_millis().saturating_add(1);
        let limit = if due { PollTimeout::try_from(millis).ok() } else { None };
        match poll(&mut fds, limit.unwrap_or(PollTimeout::NONE)) {
            Ok(0) if due && left.is_zero() => {
                let waited = self.timeout;
                return Err(Error::Refused(format!("str_cli: no answer within {waited:?}")));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("poll")(errno)),
        }
        if !due {
            self.last_read = Instant::now();
        }
        let flags = |i: usize| fds.get(i).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        Ok(Ready {
            stdin: !flags(1).is_empty(),
            readable: flags(0).intersects(!PollFlags::POLLOUT),
            writable: flags(0).contains(PollFlags::POLLOUT),
        })
    }

    fn print_echo(&mut self) -> Result<bool> {
        let mut line = [0; MAXLINE];
        let n = self.sock.read(&mut line).map_err(Error::io("str_cli: read from the server"))?;
        self.received += n as u64;
        self.last_read = Instant::now();
        let echo = line.get(..n).unwrap_or_default();
        let printed = self.stdout.write_all(echo).and_then(|()| self.stdout.flush());
        printed.map_err(Error::io("standard output"))?;
        Ok(n == 0)
    }

    fn send_unsent(&mut self) -> Result<()> {
        // MSG_NOSIGNAL, because a reset by the server is an error to report, and must not kill the
        // client silently by SIGPIPE (slide "SIGPIPE Signal").
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.sock.fd().as_raw_fd(), &self.unsent, flags) {
            Ok(n) => {
                self.unsent.drain(..n);
                self.sent += n as u64;
                self.last_read = Instant::now();
                self.half_close_when_done()
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::os("str_cli: write to the server")(errno)),
        }
    }

    fn read_stdin(&mut self) -> Result<()> {
        let mut line = [0; MAXLINE];
        // read(2) without a buffer, because poll(2) does not see what a buffer holds.
        let n = match nix::unistd::read(&self.stdin, &mut line) {
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(()),
            n => n.map_err(Error::os("standard input"))?,
        };
        self.unsent.extend_from_slice(line.get(..n).unwrap_or_default());
        self.typing = n > 0;
        self.half_close_when_done()
    }

    /// Sends FIN after the last byte; the rest of the echoes is still read.
    fn half_close_when_done(&mut self) -> Result<()> {
        if self.typing || !self.unsent.is_empty() {
            return Ok(());
        }
        self.last_read = Instant::now();
        match self.sock.shutdown_write() {
            Err(e) if e.raw_os_error() == Some(Errno::ENOTCONN as i32) => Ok(()), // reset; read returns the error
            other => other.map_err(Error::io("shutdown")),
        }
    }

    /// Checks, when the server has closed, that the client had half-closed and every byte came
    /// back.
    fn at_end(&self) -> Result<()> {
        if self.typing || !self.unsent.is_empty() {
            return Err(Error::Refused("str_cli: server terminated prematurely".into()));
        }
        if self.received != self.sent {
            let (got, want) = (self.received, self.sent);
            let short = format!("str_cli: the server sent back {got} of {want} octets");
            return Err(Error::Refused(short));
        }
        Ok(())
    }
}
