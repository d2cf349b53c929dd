//! What a session attends to while it waits for its client: the end of the server.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::time::TimeSpec;

use crate::beside::Beside;
use crate::error::strerror;
use crate::scoreboard::Board;
use crate::signals::Signals;

/// Whom a waiting session listens to beside its client, as each model needs it.
#[derive(Debug)]
pub(crate) enum Attention {
    /// Fork and thread: readable once the server is shutting down; an idle client is told so.
    Shutdown(Arc<OwnedFd>),
    /// Prefork: the parent lives as long as this pipe is open.
    Parent(Watch),
    /// Iterative: there is no other process that the signals could go to.
    Signals(Box<Interrupts>),
}

/// A prefork worker watches its parent: when that has gone, stopped or killed, the worker must hold
/// no listening socket any more, so that the next server can bind the port.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// End of file when the parent has let go of the other end.
    pub(crate) pipe: Arc<OwnedFd>,
    pub(crate) listeners: Arc<[OwnedFd]>,
    pub(crate) board: Board,
    /// Idle clients are told of a shutdown.
    pub(crate) tell_idle: bool,
    pub(crate) parent_is_gone: bool,
    pub(crate) last_look: Instant,
}

/// How often a worker looks after its parent whose client never lets it wait, or for no longer.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The iterative server's signals, which come in while its one session waits.
#[derive(Debug)]
pub(crate) struct Interrupts {
    pub(crate) signals: Signals,
    /// Copies of the listeners that are the server's own.
    pub(crate) listeners: Vec<OwnedFd>,
    /// The service for datagrams, lent for as long as the session lasts: it stops at once.
    pub(crate) beside: Option<Beside>,
    pub(crate) grace: Duration,
    pub(crate) tell_idle: bool,
    /// What SIGUSR1 logs.
    pub(crate) client: String,
    pub(crate) ends_at: Option<Instant>,
}

impl Attention {
    /// The descriptor to wait on beside the client's. `idle`: the client is between two things.
    pub(crate) fn fd(&self, idle: bool) -> Option<BorrowedFd<'_>> {
        match self {
            Attention::Shutdown(fd) if idle => Some(fd.as_fd()),
            Attention::Parent(watch) if !watch.parent_is_gone => Some(watch.pipe.as_fd()),
            _ => None,
        }
    }

    /// The descriptor is ready, or signals may have come.
    ///
    /// # Errors
    /// `ConnectionAborted` when the session must end here and now.
    pub(crate) fn heed(&mut self) -> io::Result<()> {
        match self {
            Attention::Shutdown(_) => Err(shutting_down()),
            Attention::Parent(watch) => {
                watch.let_go();
                Ok(())
            }
            Attention::Signals(interrupts) => interrupts.heed(),
        }
    }

    /// For a session that goes on without waiting: looks from time to time what a wait would see.
    pub(crate) fn glance(&mut self) {
        if let Attention::Parent(watch) = self
            && !watch.parent_is_gone
            && watch.last_look.elapsed() >= LOOK
        {
            watch.last_look = Instant::now();
            if watch.sees_the_end() {
                watch.let_go();
            }
        }
    }

    /// True when the session may wait for its client alone, for [`LOOK`] at most.
    pub(crate) fn can_do_without(&self) -> bool {
        matches!(self, Attention::Parent(watch) if !watch.parent_is_gone)
    }

    /// True when the session has no time left to take its leave.
    pub(crate) fn must_end(&self) -> bool {
        matches!(self, Attention::Signals(interrupts) if interrupts.must_end())
    }

    /// True when an idle client is to be told that the server is shutting down.
    pub(crate) fn dismisses_idle(&self) -> bool {
        match self {
            Attention::Shutdown(_) => false, // its descriptor tells
            Attention::Parent(watch) => {
                watch.parent_is_gone && watch.tell_idle && watch.board.is_stopping()
            }
            Attention::Signals(interrupts) => interrupts.tell_idle && interrupts.ends_at.is_some(),
        }
    }
}

impl Watch {
    /// The parent has let go of the pipe.
    pub(crate) fn sees_the_end(&self) -> bool {
        let mut pipe = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut pipe, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn let_go(&mut self) {
        self.parent_is_gone = true;
        stop_listening(&self.listeners);
    }
}

impl Interrupts {
    fn heed(&mut self) -> io::Result<()> {
        if self.signals.table_wanted() {
            info!("1 of 1 clients");
            info!("client {}", self.client);
            self.beside.as_ref().inspect(|beside| beside.log_line());
        }
        if self.signals.stops() == 0 {
            return Ok(());
        }
        self.ends_at.get_or_insert_with(|| {
            stop_listening(&self.listeners);
            if let Some(beside) = self.beside.take() {
                beside.stop();
            }
            info!("stopping: 1 clients, {:?} to end", self.grace);
            Instant::now() + self.grace
        });
        if self.must_end() { Err(shutting_down()) } else { Ok(()) }
    }

    /// A second SIGTERM came, or `--grace` is over.
    fn must_end(&self) -> bool {
        self.signals.stops() > 1 || self.ends_at.is_some_and(|at| at <= Instant::now())
    }

    /// ppoll(2) on the client, with the signals let in; true when the client is ready.
    pub(crate) fn wait(&self, client: PollFd<'_>, allowance: Duration) -> io::Result<bool> {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let limit = self.ends_at.map_or(allowance, |at| left(at).min(allowance));
        self.signals.wait(&mut [client], Some(TimeSpec::from(limit))).map_err(io::Error::other)
    }
}

/// shutdown(2) of a listening socket: it leaves the state LISTEN for all processes that hold it.
pub(crate) fn stop_listening(listeners: &[OwnedFd]) {
    for listener in listeners {
        if let Err(errno) = shutdown(listener.as_raw_fd(), Shutdown::Both) {
            debug!("shutdown of a listener: {}", strerror(errno));
        }
    }
}

/// The error of a read that ends because the server does.
pub(crate) fn shutting_down() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "shutting down")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_worker_that_never_waits_lets_go_of_the_port_of_a_parent_that_is_gone() {
        let (pipe, life) = std::io::pipe().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut attention = Attention::Parent(Watch {
            pipe: Arc::new(pipe.into()),
            listeners: [listener.into()].into(),
            board: Board::new().unwrap(),
            tell_idle: false,
            parent_is_gone: false,
            last_look: Instant::now(),
        });
        let later = |attention: &mut Attention| {
            std::thread::sleep(LOOK);
            attention.glance();
        };
        later(&mut attention);
        assert!(TcpStream::connect(address).is_ok());
        drop(life);
        later(&mut attention);
        assert!(TcpStream::connect(address).is_err());
    }
}
