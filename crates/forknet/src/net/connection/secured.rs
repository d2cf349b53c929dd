//! A connection under TLS.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::net::connection::Connection;
use crate::net::interrupt::is_readable;
use crate::net::tls::Tls;

/// Longest wait of a handshake for the client's next bytes, where `--timeout` is not shorter.
const HANDSHAKE_IDLE: Duration = Duration::from_secs(60);
/// Most bytes of records that are sent by one call.
const MAX_SENT: usize = 64 * 1024;

impl Connection {
    /// Makes a TLS handshake. What the client has sent in the clear before must have been read.
    ///
    /// # Errors
    /// Those of reading and writing; `InvalidData` for a handshake that fails, after the alert was sent;
    /// `UnexpectedEof`.
    pub fn handshake(&mut self, tls: &mut dyn Tls) -> io::Result<()> {
        let idle = self.idle;
        self.idle = idle.min(HANDSHAKE_IDLE);
        let made = self.shake_hands(tls);
        self.idle = idle;
        made
    }

    fn shake_hands(&mut self, tls: &mut dyn Tls) -> io::Result<()> {
        self.send_records(tls)?;
        while tls.is_handshaking() {
            if self.receive_records(tls)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.send_records(tls)?;
        }
        Ok(())
    }

    /// Puts all that is read and written from now on under TLS.
    pub fn set_tls(&mut self, tls: Box<dyn Tls>) {
        self.tls = Some(tls);
    }

    /// Takes TLS off, for a process that moves its records.
    pub(crate) fn take_tls(&mut self) -> Option<Box<dyn Tls>> {
        self.tls.take()
    }

    /// Whether the connection is under TLS.
    #[must_use]
    pub fn is_under_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads text, and sends what TLS has to answer to records that bring none.
    pub(super) fn read_text(&mut self, tls: &mut dyn Tls, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match tls.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let received = self.receive_records(tls)?;
                    self.send_records(tls)?;
                    if received == 0 {
                        return Ok(0);
                    }
                }
                answer => return answer,
            }
        }
    }

    pub(super) fn write_text(&mut self, tls: &mut dyn Tls, text: &[u8]) -> io::Result<usize> {
        let count = tls.write(text)?;
        self.send_records(tls)?;
        Ok(count)
    }

    fn receive_records(&mut self, tls: &mut dyn Tls) -> io::Result<usize> {
        let received = tls.receive(&mut Records(self));
        if received.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidData) {
            let _ = self.send_records(tls); // the alert
        }
        received
    }

    pub(super) fn send_records(&mut self, tls: &mut dyn Tls) -> io::Result<()> {
        while tls.wants_to_send() {
            tls.send(&mut Records(self))?;
        }
        Ok(())
    }

    /// Reads of the client what is there, below TLS. Never waits.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = if self.is_socket {
            recv(self.input.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?
        } else if is_readable(self.fd()) {
            nix::unistd::read(&self.input, buffer)?
        } else {
            return Err(Errno::EAGAIN.into());
        };
        self.counters.received(received);
        self.has_ended |= received == 0 && !buffer.is_empty();
        Ok(received)
    }

    /// Sends the client what there is room for, below TLS. Never waits.
    ///
    /// # Errors
    /// `WouldBlock` where there is no room.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = if self.is_socket {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            send(self.input.as_raw_fd(), bytes, flags)?
        } else {
            let output = self.output.as_ref().ok_or(ErrorKind::BrokenPipe)?;
            let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut fds, PollTimeout::ZERO)? == 0 {
                return Err(Errno::EAGAIN.into());
            }
            self.write_pipe(bytes)?
        };
        self.counters.sent(sent);
        Ok(sent)
    }

    /// Half-closes what is below TLS.
    pub(super) fn shutdown_below(&mut self) -> io::Result<()> {
        if self.is_socket {
            shutdown(self.input.as_raw_fd(), Shutdown::Write)?;
        }
        self.output = None;
        Ok(())
    }
}

/// What is below TLS; it may wait.
struct Records<'a>(&'a mut Connection);

impl Read for Records<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_below(buffer)
    }
}

impl Write for Records<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_below(bytes)
    }

    /// Sends several records by one call, so that they go in one packet.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&joined(records))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`Records`], but never waits.
pub(crate) struct RecordsNow<'a>(pub(crate) &'a mut Connection);

impl Read for RecordsNow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(buffer)
    }
}

impl Write for RecordsNow<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_now(bytes)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&joined(records))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Up to [`MAX_SENT`] bytes of several records, or a single one.
fn joined<'a>(records: &'a [IoSlice<'_>]) -> Cow<'a, [u8]> {
    if let [one] = records {
        return Cow::Borrowed(one);
    }
    let mut bytes = Vec::new();
    for record in records {
        let room = MAX_SENT - bytes.len();
        bytes.extend_from_slice(record.get(..room).unwrap_or(record));
    }
    Cow::Owned(bytes)
}
