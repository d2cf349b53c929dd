//! Reports the server's state to the starting command, the service manager and `ps`.

use std::time::Duration;

use crate::error::Result;
use crate::log::{contract, stderr};
use crate::net::listener::Listener;
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::title::{ParentTitle, Titles};
use crate::setup::daemonize::Starter;
use crate::setup::sd_notify::Notifier;

/// Reports the server's state.
#[derive(Debug)]
pub(crate) struct Announcer {
    titles: Titles,
    title: ParentTitle,
    notifier: Notifier,
    starter: Option<Starter>,
    max_clients: usize,
    /// The shutdown was reported, while a design that counts its clients itself goes on serving.
    is_stopping: bool,
}

impl Announcer {
    pub(crate) fn new(titles: Titles, max_clients: usize) -> Announcer {
        let title = ParentTitle::new(titles);
        let (notifier, starter) = (Notifier::default(), None);
        Announcer { titles, title, notifier, starter, max_clients, is_stopping: false }
    }

    /// Sets the service manager, and the command that has started a daemon.
    pub(crate) fn set_targets(&mut self, notifier: Notifier, starter: Option<Starter>) {
        (self.notifier, self.starter) = (notifier, starter);
    }

    pub(crate) fn titles(&self) -> Titles {
        self.titles
    }

    /// Reports that the server serves.
    ///
    /// # Errors
    /// The starting command has ended.
    pub(crate) fn ready(
        &mut self,
        listeners: &[Listener],
        helper: Option<&DatagramHelper>,
    ) -> Result<()> {
        self.title.show(0, self.max_clients, listeners);
        listeners.iter().for_each(contract::listening);
        helper.into_iter().for_each(DatagramHelper::log_sockets);
        stderr::flush(); // to the terminal, before a daemon leaves it
        let starter = self.starter.take();
        self.notifier.ready(starter.is_some());
        starter.map_or(Ok(()), Starter::ready)
    }

    /// Reports the number of clients; returns the time until the next report.
    pub(crate) fn count(&mut self, clients: usize, listeners: &[Listener]) -> Option<Duration> {
        if self.is_stopping {
            self.titles.stopping(clients);
            return self.notifier.beat();
        }
        let manager = self.notifier.tick(clients, self.max_clients);
        let title = self.title.show(clients, self.max_clients, listeners);
        manager.into_iter().chain(title).min()
    }

    /// Reports that SIGHUP was handled.
    pub(crate) fn reloaded(&mut self) {
        self.notifier.reloaded();
    }

    /// Reports that the server stops, and the longest time that its last clients may take.
    pub(crate) fn stopping(&mut self, clients: usize, longest: Duration) {
        self.is_stopping = true;
        self.notifier.stopping(clients, longest);
        self.titles.stopping(clients);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Notes that another title has replaced the parent's.
    pub(crate) fn title_was_replaced(&mut self) {
        self.title.reset();
    }

    /// Closes the socket to the service manager, in a child.
    pub(crate) fn close(&mut self) {
        self.notifier.close();
    }
}
