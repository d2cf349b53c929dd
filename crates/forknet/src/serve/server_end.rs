//! What a session sees of the server's end, in a child and in a thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::net::interrupt::{Interrupts, Woken, is_readable, shutting_down, wait};
use crate::serve::lifeline::Lifeline;

/// How often a session that goes on without waiting looks for the end of the server.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Tells all sessions when the server ends.
#[derive(Debug, Default)]
pub(crate) struct ServerEnd {
    /// It takes no more clients; those that are idle are told so. `None` where they are left alone.
    stopping: Option<Lifeline>,
    /// The time of grace is over, in a server whose threads nothing else can end.
    ending: Option<Lifeline>,
}

impl ServerEnd {
    /// Idle sessions are told when the server stops.
    pub(crate) fn tell_idle(&mut self) -> nix::Result<()> {
        self.stopping = Some(Lifeline::new()?);
        Ok(())
    }

    /// True when they are.
    pub(crate) fn tells_idle(&self) -> bool {
        self.stopping.is_some()
    }

    /// The sessions are threads, which end when [`ServerEnd::end`] is called.
    pub(crate) fn end_threads(&mut self) -> nix::Result<()> {
        self.ending = Some(Lifeline::new()?);
        Ok(())
    }

    /// The server takes no more clients.
    pub(crate) fn stop(&mut self) {
        self.stopping.iter_mut().for_each(Lifeline::let_go);
    }

    /// The time of grace is over.
    pub(crate) fn end(&mut self) {
        self.ending.iter_mut().for_each(Lifeline::let_go);
    }

    /// What interrupts a session; `None` where nothing does.
    pub(crate) fn interrupts(&self) -> Option<Box<dyn Interrupts>> {
        let [stopping, ending] =
            [&self.stopping, &self.ending].map(|line| line.as_ref().map(Lifeline::end));
        (stopping.is_some() || ending.is_some())
            .then(|| Box::new(Watch { stopping, ending, last_look: Instant::now() }) as _)
    }
}

#[derive(Debug)]
struct Watch {
    stopping: Option<Arc<OwnedFd>>,
    ending: Option<Arc<OwnedFd>>,
    last_look: Instant,
}

impl Interrupts for Watch {
    fn wait(
        &mut self,
        client: (BorrowedFd<'_>, PollFlags),
        is_idle: bool,
        limit: Duration,
    ) -> io::Result<bool> {
        let stopping = self.stopping.as_ref().filter(|_| is_idle).map(|fd| fd.as_fd());
        let ending = self.ending.as_ref().map(|fd| fd.as_fd());
        match wait(client, [stopping, ending], limit)? {
            Woken::Client => Ok(true),
            Woken::Neither => Ok(false),
            Woken::Other => Err(shutting_down()),
        }
    }

    fn poll_now(&mut self) -> io::Result<()> {
        let Some(ending) = &self.ending else { return Ok(()) };
        if self.last_look.elapsed() >= LOOK {
            self.last_look = Instant::now();
            if is_readable(ending.as_fd()) {
                return Err(shutting_down());
            }
        }
        Ok(())
    }

    fn rest(&self) -> Duration {
        LOOK
    }

    fn must_end(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| is_readable(ending.as_fd()))
    }
}
