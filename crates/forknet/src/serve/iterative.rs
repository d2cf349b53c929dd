//! One client after the other, by the one process there is: the slides' iterative server.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::info;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;

use crate::error::Result;
use crate::net::interrupt::{Interrupts, shutting_down};
use crate::net::listener::{Listener, stop_listening};
use crate::net::peer::Peer;
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::master::{Master, Round};
use crate::serve::session::{self, Client};
use crate::serve::signals::Signals;

/// Slide "El servidor atiende la peticion personalmente" (the server attends to the request in
/// person): accept, serve, close, and round again. Clients that come meanwhile wait in the backlog.
#[inline(never)]
pub(crate) fn serve(
    mut master: Master,
    serve: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    master.ready()?;
    loop {
        master.start_helper_if_due(|| ());
        let ready = master.wait_for(&Round { accepting: true, ..Round::default() })?.listeners;
        if master.must_stop_with(0) {
            return master.shut_down();
        }
        for listener in ready {
            let Some(mut conn) = master.accept(listener)? else { continue };
            let Some(slot) = master.admit(&conn) else { continue };
            let helper = Arc::new(Mutex::new(master.take_helper()));
            conn.set_interrupts(Some(OwnSignals::new(&master, conn.peer(), &helper)));
            session::run(conn, slot, &serve); //                doit: str_echo(connfd), close(connfd)
            master.set_helper(helper.lock().unwrap_or_else(PoisonError::into_inner).take());
            master.announcer().title_was_replaced(); // by the client's
            master.children().release(slot);
            // A signal that the session has heard would not end the next wait; and a listener that is
            // not ours was not shut down, and is quiet.
            if master.must_stop_with(1) {
                return master.shut_down();
            }
        }
    }
}

/// The server's signals, which come in while its one session waits: SIGTERM stops the listening at once,
/// and ends the session when `--grace` is over.
#[derive(Debug)]
struct OwnSignals {
    signals: Signals,
    /// Copies of the listeners that are the server's own.
    listeners: Vec<OwnedFd>,
    /// The service for datagrams, lent for as long as the session lasts: it stops at once.
    helper: Arc<Mutex<Option<DatagramHelper>>>,
    grace: Duration,
    ends_idle: bool,
    peer: Peer,
    /// After SIGTERM.
    ends_at: Option<Instant>,
}

impl OwnSignals {
    fn new(
        master: &Master,
        peer: Peer,
        helper: &Arc<Mutex<Option<DatagramHelper>>>,
    ) -> Box<OwnSignals> {
        Box::new(OwnSignals {
            signals: master.signals(),
            listeners: master.listeners().iter().filter_map(Listener::own_copy).collect(),
            helper: Arc::clone(helper),
            grace: master.options().grace,
            ends_idle: master.server_end().ends_idle(),
            peer,
            ends_at: None,
        })
    }

    /// Does what the signals ask for.
    fn handle_signals(&mut self) -> io::Result<()> {
        if self.signals.table_wanted() {
            info!("1 of 1 clients");
            info!("client {}", self.peer);
            self.helper().iter().for_each(DatagramHelper::log_line);
        }
        if self.signals.stops() > 0 && self.ends_at.is_none() {
            self.ends_at = Some(Instant::now() + self.grace);
            stop_listening(&self.listeners);
            if let Some(helper) = self.helper().take() {
                helper.stop();
            }
            info!("stopping: 1 clients, {:?} to end", self.grace);
        }
        if self.must_end() { Err(shutting_down()) } else { Ok(()) }
    }

    fn helper(&self) -> std::sync::MutexGuard<'_, Option<DatagramHelper>> {
        self.helper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interrupts for OwnSignals {
    fn wait(
        &mut self,
        (client, events): (BorrowedFd<'_>, PollFlags),
        is_idle: bool,
        limit: Duration,
    ) -> io::Result<bool> {
        if is_idle && self.ends_idle && self.ends_at.is_some() {
            return Err(shutting_down());
        }
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let limit = self.ends_at.map_or(limit, |at| left(at).min(limit));
        let mut client = [PollFd::new(client, events)];
        let is_ready = self.signals.wait(&mut client, Some(TimeSpec::from(limit)));
        let is_ready = is_ready.map_err(io::Error::other)?;
        self.handle_signals().map(|()| is_ready)
    }

    /// Lets the signals in, however busy the client is.
    fn poll_now(&mut self) -> io::Result<()> {
        let at_once = Some(TimeSpec::new(0, 0));
        self.signals.wait(&mut [], at_once).map_err(io::Error::other)?;
        self.handle_signals()
    }

    fn poll_interval(&self) -> Duration {
        Duration::ZERO
    }

    /// A second SIGTERM came, or `--grace` is over.
    fn must_end(&self) -> bool {
        self.signals.stops() > 1 || self.ends_at.is_some_and(|at| at <= Instant::now())
    }
}
