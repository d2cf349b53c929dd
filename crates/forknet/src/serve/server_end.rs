//! The end of the server, for sessions in children and threads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::net::interrupt::{Interrupts, Waited, Woken, is_readable, shutting_down, wait};
use crate::serve::hangup_pipe::HangupPipe;

/// Interrupts all sessions when the server ends.
#[derive(Debug, Default)]
pub(crate) struct ServerEnd {
    /// Interrupts idle sessions when the server stops accepting; `None` does not.
    stopping: Option<HangupPipe>,
    /// Interrupts all sessions after the grace, in a server with threads, which nothing else can
    /// end.
    ending: Option<HangupPipe>,
}

impl ServerEnd {
    /// Makes idle sessions end when the server stops.
    pub(crate) fn set_ends_idle(&mut self) -> nix::Result<()> {
        self.stopping = Some(HangupPipe::new()?);
        Ok(())
    }

    /// Returns true if idle sessions end when the server stops.
    pub(crate) fn ends_idle(&self) -> bool {
        self.stopping.is_some()
    }

    /// Prepares [`ServerEnd::end`], for sessions that are threads.
    pub(crate) fn end_threads(&mut self) -> nix::Result<()> {
        self.ending = Some(HangupPipe::new()?);
        Ok(())
    }

    /// Interrupts idle sessions.
    pub(crate) fn stop(&mut self) {
        self.stopping.iter_mut().for_each(HangupPipe::close);
    }

    /// Interrupts all sessions, after the grace.
    pub(crate) fn end(&mut self) {
        self.ending.iter_mut().for_each(HangupPipe::close);
    }

    /// Returns what interrupts a session, if anything does.
    pub(crate) fn interrupts(&self) -> Option<Box<dyn Interrupts>> {
        let [stopping, ending] =
            [&self.stopping, &self.ending].map(|pipe| pipe.as_ref().map(HangupPipe::reader));
        (stopping.is_some() || ending.is_some())
            .then(|| Box::new(EndWatch { stopping, ending }) as _)
    }
}

#[derive(Debug)]
struct EndWatch {
    stopping: Option<Arc<OwnedFd>>,
    ending: Option<Arc<OwnedFd>>,
}

impl Interrupts for EndWatch {
    fn wait(&mut self, client: &[Waited<'_>], is_idle: bool, limit: Duration) -> io::Result<bool> {
        let stopping = self.stopping.as_ref().filter(|_| is_idle).map(|fd| fd.as_fd());
        let ending = self.ending.as_ref().map(|fd| fd.as_fd());
        match wait(client, [stopping, ending], limit)? {
            Woken::Client => Ok(true),
            Woken::Neither => Ok(false),
            Woken::Other => Err(shutting_down()),
        }
    }

    fn poll_now(&mut self) -> io::Result<()> {
        if self.must_end() { Err(shutting_down()) } else { Ok(()) }
    }

    fn must_end(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| is_readable(ending.as_fd()))
    }
}
