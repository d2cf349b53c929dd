//! Front as the TLS end of a session that another process serves: text goes to and fro between the records
//! of the client and a socket of that process, which has the deadlines.
//!
//! Of each direction at most one piece of text is here, besides what TLS itself keeps: a side that does not
//! read holds up the one that writes, as without TLS.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::net::connection::Connection;
use crate::net::connection::secured::RecordsNow;
use crate::net::tls::Tls;

/// Most bytes of text that are moved at once: those of a record (RFC 8446 §5.1).
const PIECE: usize = 16 * 1024;
/// Most pieces that are moved before other descriptors are looked at.
const MAX_PIECES: usize = 64;

/// Moves the text of a session.
#[derive(Debug)]
pub(crate) struct TlsEnd {
    tls: Box<dyn Tls>,
    /// The socket of the process that serves the client.
    stream: OwnedFd,
    /// Text that has been received and not passed on.
    received: Vec<u8>,
    has_client_ended: bool,
    has_stream_ended: bool,
    /// Nothing can be sent to the client any more.
    is_lost: bool,
}

impl TlsEnd {
    pub(crate) fn new(tls: Box<dyn Tls>, stream: OwnedFd) -> TlsEnd {
        let (has_client_ended, has_stream_ended, is_lost) = (false, false, false);
        TlsEnd { tls, stream, received: Vec::new(), has_client_ended, has_stream_ended, is_lost }
    }

    /// Moves what can be moved without waiting. Returns true if there may be more.
    pub(crate) fn run(&mut self, conn: &mut Connection) -> bool {
        for _ in 0..MAX_PIECES {
            let (received, sent) = (self.receive(conn), self.send(conn));
            if !received && !sent {
                return false;
            }
        }
        true
    }

    /// What is to be waited for: at the socket, and at the client.
    pub(crate) fn events(&self) -> (PollFlags, PollFlags) {
        let flag = |flag, is_wanted: bool| if is_wanted { flag } else { PollFlags::empty() };
        let is_full = !self.received.is_empty();
        let has_records = self.tls.wants_to_send();
        let is_open = !self.has_stream_ended;
        let stream = flag(PollFlags::POLLIN, is_open && !has_records)
            | flag(PollFlags::POLLOUT, is_open && is_full);
        let client = flag(PollFlags::POLLIN, !self.has_client_ended && !is_full)
            | flag(PollFlags::POLLOUT, has_records && !self.is_lost);
        (stream, client)
    }

    pub(crate) fn stream(&self) -> impl AsFd {
        &self.stream
    }

    /// Gives TLS back, for the end of the connection.
    pub(crate) fn into_tls(self) -> Box<dyn Tls> {
        self.tls
    }

    /// Moves text from the client to the socket. Returns true if something has been done.
    fn receive(&mut self, conn: &mut Connection) -> bool {
        if !self.received.is_empty() {
            return self.pass_on();
        }
        if self.has_client_ended {
            return false;
        }
        let mut text = [0; PIECE];
        match self.tls.read(&mut text) {
            Ok(count @ 1..) => {
                self.received.extend_from_slice(text.get(..count).unwrap_or_default());
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive_records(conn),
            Ok(0) | Err(_) => self.client_has_ended(),
        }
    }

    fn pass_on(&mut self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.stream.as_raw_fd(), &self.received, flags) {
            Ok(count) => {
                self.received.drain(..count);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Err(_) => {
                self.received.clear(); // there is nothing left to do with it
                self.stream_has_ended()
            }
        }
    }

    fn receive_records(&mut self, conn: &mut Connection) -> bool {
        match self.tls.receive(&mut RecordsNow(conn)) {
            Ok(1..) => true,
            Err(error) if is_vain(&error) => false,
            Ok(0) | Err(_) => self.client_has_ended(),
        }
    }

    /// Moves text from the socket to the client. Returns true if something has been done.
    fn send(&mut self, conn: &mut Connection) -> bool {
        if self.is_lost {
            return false;
        }
        if self.tls.wants_to_send() {
            return match self.tls.send(&mut RecordsNow(conn)) {
                Ok(_) => true,
                Err(error) if is_vain(&error) => false,
                Err(_) => self.client_is_lost(),
            };
        }
        if self.has_stream_ended {
            return false;
        }
        let mut text = [0; PIECE];
        match recv(self.stream.as_raw_fd(), &mut text, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Ok(0) | Err(_) => self.stream_has_ended(),
            Ok(count) => match self.tls.write(text.get(..count).unwrap_or_default()) {
                Ok(written) if written == count => true,
                _ => self.client_is_lost(),
            },
        }
    }

    /// Passes the end of the client's text on; what is sent to the client goes on.
    fn client_has_ended(&mut self) -> bool {
        self.has_client_ended = true;
        let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Write); // ENOTCONN: it has ended
        false
    }

    fn client_is_lost(&mut self) -> bool {
        self.is_lost = true;
        self.has_client_ended = true;
        self.stream_has_ended()
    }

    /// Ends the session's side.
    fn stream_has_ended(&mut self) -> bool {
        self.has_stream_ended = true;
        let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Both); // ENOTCONN: it has ended
        false
    }
}

/// Whether a call may be made again later.
fn is_vain(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
