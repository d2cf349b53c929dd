//! One client after the other in one process: the slides' iterative server.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::info;
use nix::poll::PollFd;
use nix::sys::time::TimeSpec;

use crate::error::{Error, Result};
use crate::net::interrupt::{Interrupts, Waited, shutting_down};
use crate::net::listener::{Listener, stop_listening};
use crate::net::peer::Peer;
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::master::{Master, Round};
use crate::serve::session::{self, Client};
use crate::serve::signals::Signals;

/// Slide "El servidor atiende la peticion personalmente" (the server attends to the request in
/// person): accept, serve, close, and round again. Other clients wait in the backlog.
#[inline(never)]
pub(crate) fn serve(
    mut master: Master,
    serve: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    master.ready()?;
    master.confine().map_err(Error::os("confinement"))?;
    loop {
        master.start_helper_if_due(|| ());
        let ready = master.wait_for(&Round { accepting: true, ..Round::default() })?.listeners;
        if master.must_stop_with(0) {
            return master.shut_down();
        }
        for listener in ready {
            let Some(mut conn) = master.accept(listener)? else { continue };
            let Some(slot) = master.admit(&mut conn)? else { continue };
            let helper = Arc::new(Mutex::new(master.take_helper()));
            conn.set_interrupts(Some(OwnSignals::new(&master, conn.peer(), &helper)));
            if let Some(slot) = master.admit_told(&mut conn, slot) {
                session::run(conn, slot, &serve); //            doit: str_echo(connfd), close(connfd)
                master.children().release(slot);
            }
            master.set_helper(helper.lock().unwrap_or_else(PoisonError::into_inner).take());
            master.announcer().title_was_replaced(); // by the session's
            // A signal that came during the session does not end the next wait, and an inherited
            // listener, which was not shut down, does not either.
            if master.must_stop_with(1) {
                return master.shut_down();
            }
        }
    }
}

/// The server's signals, which are delivered while its session waits. SIGTERM closes the listeners
/// immediately, and ends the session after `--grace`.
#[derive(Debug)]
struct OwnSignals {
    signals: Signals,
    /// Copies of the listeners that are not inherited.
    listeners: Vec<OwnedFd>,
    /// The datagram service, lent to the session, which stops it on SIGTERM.
    helper: Arc<Mutex<Option<DatagramHelper>>>,
    grace: Duration,
    ends_idle: bool,
    peer: Peer,
    /// Set by SIGTERM.
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

    /// Handles the signals.
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
    fn wait(&mut self, client: &[Waited<'_>], is_idle: bool, limit: Duration) -> io::Result<bool> {
        if is_idle && self.ends_idle && self.ends_at.is_some() {
            return Err(shutting_down());
        }
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let limit = self.ends_at.map_or(limit, |at| left(at).min(limit));
        let mut fds: Vec<_> = client.iter().map(|(fd, events)| PollFd::new(*fd, *events)).collect();
        let is_ready = self.signals.wait(&mut fds, Some(TimeSpec::from(limit)));
        let is_ready = is_ready.map_err(io::Error::other)?;
        self.handle_signals().map(|()| is_ready)
    }

    /// Lets signals be delivered, also if the client never waits.
    fn poll_now(&mut self) -> io::Result<()> {
        let at_once = Some(TimeSpec::new(0, 0));
        self.signals.wait(&mut [], at_once).map_err(io::Error::other)?;
        self.handle_signals()
    }

    fn poll_interval(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns true after a second SIGTERM, or `--grace`.
    fn must_end(&self) -> bool {
        self.signals.stops() > 1 || self.ends_at.is_some_and(|at| at <= Instant::now())
    }
}
