//! Limits where another process than the parent knows the client: only the parent counts clients.
//!
//! A prefork worker accepts clients; where a limit of one address can be reached, it asks its parent about
//! each, over its own socketpair. The parent counts one client at a time for a worker. Under the other designs
//! a process or thread asks once, about the client that a proxy has told it ([`crate::serve::proxied`]).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::net::connection::set_receive_timeout;
use crate::net::peer::Peer;

/// Longest wait of a worker or child for its parent's answer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a question: the client's address and port, or zeros when it has gone.
const QUESTION: usize = 18;

/// The answer of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The client is counted.
    Yes = 1,
    /// `--max-per-ip` is reached.
    PerAddress = 2,
    /// `--rate` is exceeded.
    TooOften = 3,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct WorkerEnd(OwnedFd);

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ParentEnd(OwnedFd);

/// A worker's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// May this client be served?
    May(SocketAddr),
    /// The client has gone.
    Gone,
    /// No question.
    Nothing,
    /// Bytes that are none.
    Malformed,
    /// The worker has closed its end.
    HungUp,
}

/// Makes both ends.
pub(crate) fn pair() -> nix::Result<(WorkerEnd, ParentEnd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (worker, parent) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    set_receive_timeout(&worker, LONGEST_WAIT)?;
    Ok((WorkerEnd(worker), ParentEnd(parent)))
}

impl WorkerEnd {
    /// Asks about a client.
    ///
    /// # Errors
    /// The parent is gone, or does not answer.
    pub(crate) fn may_serve(&self, peer: Peer) -> io::Result<Answer> {
        let (Peer::Ip(address) | Peer::Told(address)) = peer else { return Ok(Answer::Yes) };
        let bits = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let question = [&bits.octets()[..], &address.port().to_be_bytes()].concat();
        send(self.0.as_raw_fd(), &question, MsgFlags::MSG_NOSIGNAL)?;
        let mut answer = [0];
        match (recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?, answer) {
            (1, [1]) => Ok(Answer::Yes),
            (1, [2]) => Ok(Answer::PerAddress),
            (1, [3]) => Ok(Answer::TooOften),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Reports that the client has gone.
    pub(crate) fn client_gone(&self) {
        let _ = send(self.0.as_raw_fd(), &[0; QUESTION], MsgFlags::MSG_NOSIGNAL); // the parent may have gone too
    }
}

impl ParentEnd {
    /// Returns the next question, without waiting.
    pub(crate) fn question(&self) -> Question {
        let mut bytes = [0; QUESTION];
        match recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(QUESTION) if bytes == [0; QUESTION] => Question::Gone,
            Ok(QUESTION) => match (bytes.first_chunk::<16>(), bytes.last_chunk()) {
                (Some(ip), Some(port)) => {
                    let ip = Ipv6Addr::from(*ip).to_canonical();
                    Question::May(SocketAddr::new(ip, u16::from_be_bytes(*port)))
                }
                _ => Question::Malformed,
            },
            Ok(0) if self.has_hung_up() => Question::HungUp,
            Err(Errno::EAGAIN | Errno::EINTR) => Question::Nothing,
            _ => Question::Malformed,
        }
    }

    /// Returns true when an empty message was the end of file.
    fn has_hung_up(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.0.as_raw_fd(), &mut [0], flags) == Ok(0)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = send(self.0.as_raw_fd(), &[answer as u8], flags); // a worker that has ended needs no answer
    }
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Shutdown, shutdown};

    #[test]
    fn questions_and_answers_are_received_as_they_were_sent() {
        let (asking, granting) = pair().unwrap();
        assert_eq!(granting.question(), Question::Nothing);
        granting.answer(Answer::TooOften);
        let peer = Peer::Ip("192.0.2.1:7".parse().unwrap());
        assert_eq!(asking.may_serve(peer).unwrap(), Answer::TooOften);
        assert_eq!(granting.question(), Question::May("192.0.2.1:7".parse().unwrap()));
        granting.answer(Answer::Yes);
        let told = Peer::Told("[2001:db8::7]:65535".parse().unwrap());
        assert_eq!(asking.may_serve(told).unwrap(), Answer::Yes);
        assert_eq!(granting.question(), Question::May("[2001:db8::7]:65535".parse().unwrap()));
        asking.client_gone();
        assert_eq!(granting.question(), Question::Gone);
        for odd in [&b""[..], b"x", &[7; 17]] {
            send(asking.0.as_raw_fd(), odd, MsgFlags::empty()).unwrap();
            assert_eq!(granting.question(), Question::Malformed);
        }
        drop(granting);
        assert!(asking.may_serve(peer).is_err());
    }

    #[test]
    fn the_end_of_a_worker_differs_from_an_empty_message() {
        for how in [Shutdown::Write, Shutdown::Both] {
            let (asking, granting) = pair().unwrap();
            send(asking.0.as_raw_fd(), b"", MsgFlags::empty()).unwrap();
            assert_eq!(granting.question(), Question::Malformed);
            shutdown(asking.0.as_raw_fd(), how).unwrap();
            assert_eq!(granting.question(), Question::HungUp);
        }
    }
}
