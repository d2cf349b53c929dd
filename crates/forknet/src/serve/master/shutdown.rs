//! SIGTERM: closes the listeners, lets sessions end, then ends them.

use std::time::{Duration, Instant};

use log::{info, warn};
use nix::sys::signal::Signal;
use sys::fork::exit_now;

use crate::error::Result;
use crate::log::stderr;
use crate::net::interrupt::POLL_INTERVAL;
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::exit_code::EXIT_OK;
use crate::serve::files::Files;
use crate::serve::listeners::Listeners;
use crate::serve::master::Master;

/// Time between SIGTERM to the children and SIGKILL.
const TERM_TIMEOUT: Duration = Duration::from_secs(2);
impl Master {
    /// Returns true after SIGTERM, SIGINT, or the idle timeout under inetd.
    pub(crate) fn must_stop(&self) -> bool {
        self.must_stop_with(self.clients())
    }

    /// As [`Master::must_stop`], for a design that counts its clients itself.
    pub(crate) fn must_stop_with(&self, clients: usize) -> bool {
        let is_over = self.helper.as_ref().is_some_and(DatagramHelper::is_over);
        let is_idle = self.idle_left(clients).is_some_and(|left| left.is_zero());
        is_over || is_idle || self.signals.stops() > 0
    }

    /// Closes the listeners, then waits for the children and threads for `--grace`, or until a
    /// second SIGTERM; then ends the children with SIGTERM, later SIGKILL, and the threads by
    /// interrupting their waits. No child is left.
    ///
    /// # Errors
    /// ppoll(2) failed.
    pub(crate) fn shut_down(&mut self) -> Result<()> {
        self.shut_down_with(|master| master.clients())
    }

    /// As [`Master::shut_down`]; calls `poll` repeatedly, which returns the number of remaining
    /// clients, and may end children that the design need not wait for.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn shut_down_with(
        &mut self,
        mut poll: impl FnMut(&mut Master) -> usize,
    ) -> Result<()> {
        let grace = self.options.grace;
        let clients = poll(self);
        self.announcer.stopping(clients, grace + 2 * TERM_TIMEOUT + POLL_INTERVAL);
        self.stop_listening();
        self.reap_all();
        let clients = poll(self);
        let noun = self.titles().noun();
        if clients > 0 {
            info!("stopping: {clients} {noun}s, {grace:?} to end");
        }
        self.threads.poll_in(true);
        self.server_end.stop();
        let stops = self.signals.stops();
        self.await_end(grace, &mut poll, |master| master.signals.stops() > stops);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if !self.is_alone() {
                info!("stopping: {signal} to {} {noun}s", poll(self));
                self.children.signal(signal);
                self.server_end.end();
                self.await_end(TERM_TIMEOUT, &mut poll, |_| false);
            }
        }
        if !self.is_alone() {
            warn!("stopped, with {} threads that do not end", self.threads.len());
            (self.files, self.listeners) = (Files::default(), Listeners::default()); // removes the pid file
            stderr::flush();
            exit_now(EXIT_OK);
        }
        info!("stopped");
        Ok(())
    }

    /// Ends the datagram service, and closes the listeners with the files of UNIX-domain ones.
    fn stop_listening(&mut self) {
        if let Some(helper) = self.helper.take() {
            helper.stop();
        }
        self.listeners.close();
        self.children.answer_none();
        self.files.listeners_closed();
    }

    /// Returns true when no process or thread is left to wait for.
    fn is_alone(&self) -> bool {
        self.clients() == 0
    }

    fn reap_all(&mut self) {
        self.collect();
        self.children.reap_all();
        self.collect();
    }

    fn await_end(
        &mut self,
        limit: Duration,
        poll: &mut impl FnMut(&mut Master) -> usize,
        must_hurry: impl Fn(&Master) -> bool,
    ) {
        let until = Instant::now() + limit;
        loop {
            self.reap_all();
            let clients = poll(self);
            let due = self.announcer.count(clients, &[]);
            let left = until.saturating_duration_since(Instant::now());
            if self.is_alone() || left.is_zero() || must_hurry(self) {
                return;
            }
            let pause = due.map_or(POLL_INTERVAL, |again| again.min(POLL_INTERVAL));
            self.pause(left.min(pause));
        }
    }
}
