//! Handles failures of accept(2) and recvmsg(2) in the parent.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use sys::socket::accept;

use crate::net::failures::{Failures, PAUSE};
use crate::serve::session::refuse;

/// How the loop handles an error of accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The error concerns one client: continue, as the slide's `if (errno == EINTR) continue`.
    GoRound,
    /// Descriptors or memory are used up: answer with the spare descriptor, and pause if that fails
    /// too.
    Exhausted,
    /// The listener itself is broken.
    Fatal,
}

/// Classifies the errors of accept(2). Most are errors of the new connection, which Linux reports
/// here (accept(2), "Error handling"), or a refusal of one client by a security module or firewall.
fn verdict(errno: Errno) -> Verdict {
    match errno {
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Verdict::Exhausted,
        Errno::EBADF | Errno::EFAULT | Errno::EINVAL | Errno::ENOTSOCK => Verdict::Fatal,
        _ => Verdict::GoRound,
    }
}

/// Handles an accept(2) that fails, without a busy loop: a connection that cannot be accepted keeps
/// its listener readable, so each round must either accept it or pause. Keeps a spare descriptor
/// for that.
#[derive(Debug)]
pub(crate) struct SpareFd {
    /// An eventfd, because it needs no path, which a chroot(2) may hide.
    file: Option<EventFd>,
    failures: Failures,
    paused_until: Option<Instant>,
}

impl SpareFd {
    pub(crate) fn new() -> SpareFd {
        SpareFd { file: descriptor(), failures: Failures::default(), paused_until: None }
    }

    /// Handles an error of accept(2). `words` are the reply to a client that is accepted with the
    /// spare descriptor.
    ///
    /// # Errors
    /// The listener itself is broken.
    pub(crate) fn accept_failed(
        &mut self,
        listener: &impl AsFd,
        words: &[u8],
        errno: Errno,
    ) -> nix::Result<()> {
        match verdict(errno) {
            Verdict::Fatal => return Err(errno),
            Verdict::Exhausted => self.answer(listener, words, errno),
            Verdict::GoRound => self.count("accept", errno),
        }
        Ok(())
    }

    /// Closes the spare descriptor, accepts one client in its place, and refuses it with `words`.
    fn answer(&mut self, listener: &impl AsFd, words: &[u8], errno: Errno) {
        self.failures.warn("accept", errno, "clients are turned away until this is over");
        let had_spare = self.file.take().is_some();
        let answered = had_spare && accept(listener).map(|(conn, _)| refuse(&conn, words)).is_ok();
        self.file = descriptor();
        if !answered {
            self.pause();
        }
    }

    /// Handles an error of recvmsg(2), which may concern one datagram or an earlier peer.
    pub(crate) fn receive_failed(&mut self, errno: Errno) {
        self.count("recvmsg", errno);
    }

    fn count(&mut self, call: &'static str, errno: Errno) {
        if self.failures.count(call, errno) {
            self.pause();
        }
    }

    /// Pauses the listeners, because what cannot be received keeps them readable.
    pub(crate) fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    /// Closes the spare descriptor, in a child.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Notes a success.
    pub(crate) fn recovered(&mut self) {
        self.failures.reset();
        self.paused_until = None;
    }

    /// Returns the time left of a pause.
    pub(crate) fn pause_left(&self) -> Option<Duration> {
        self.paused_until?
            .checked_duration_since(Instant::now())
            .filter(|pause_left| !pause_left.is_zero())
    }
}

fn descriptor() -> Option<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn case_11_an_aborted_connection_never_ends_the_server() {
        for errno in [Errno::EINTR, Errno::ECONNABORTED, Errno::EPROTO, Errno::ENETDOWN] {
            assert_eq!(verdict(errno), Verdict::GoRound);
        }
        for errno in [Errno::EACCES, Errno::EPERM, Errno::EAGAIN, Errno::EHOSTUNREACH] {
            assert_eq!(verdict(errno), Verdict::GoRound, "an error of one client");
        }
        assert_eq!(verdict(Errno::EMFILE), Verdict::Exhausted);
        assert_eq!(verdict(Errno::EBADF), Verdict::Fatal);
    }

    #[test]
    fn an_accept_that_keeps_failing_pauses_the_listeners() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut spare = SpareFd::new();
        spare.accept_failed(&listener, b"", Errno::EPERM).unwrap();
        assert!(spare.pause_left().is_none());
        for _ in 0..1000 {
            spare.accept_failed(&listener, b"", Errno::EPERM).unwrap();
        }
        assert!(spare.pause_left().is_some());
        spare.recovered();
        assert!(spare.pause_left().is_none());
        assert_eq!(spare.accept_failed(&listener, b"", Errno::EBADF), Err(Errno::EBADF));
    }
}
