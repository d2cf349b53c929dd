//! What a child closes of its parent's; the start of the child that answers datagrams.

use log::warn;
use sys::fork::exit_now;

use crate::error::strerror;
use crate::log::stderr;
use crate::net::listener::Listener;
use crate::options::model::Model;
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::exit_code::EXIT_FAILED;
use crate::serve::files::Files;
use crate::serve::master::Master;
use crate::serve::server_end::ServerEnd;
use crate::serve::signals;

impl Master {
    /// Restores the default signals and closes the parent's descriptors except the transcript's. A
    /// child calls it first. One that serves a client of a server with a keeper then goes behind its
    /// barriers; where it cannot, it ends and serves nothing.
    pub(crate) fn close_listeners(&mut self) {
        if let Err(errno) = signals::restore() {
            warn!("sigaction: {}", strerror(errno));
        }
        self.listeners.close_in_child(); // Close(listenfd)
        self.helper.take().into_iter().for_each(DatagramHelper::close_in_child);
        self.spare_fd.close();
        self.files = Files::default();
        self.announcer.close();
        self.wakeup = None;
        self.children.answer_none(); // its parent answers
        (self.keeper, self.signer) = (None, None); // only the parent makes lines
        self.server_end = ServerEnd::default(); // its session has its own copies
        if self.options.model == Model::Fork
            && let Err(errno) = self.confine()
        {
            log::error!("confinement: {}", strerror(errno));
            stderr::flush();
            exit_now(EXIT_FAILED);
        }
    }

    /// As [`Master::close_listeners`], but returns the listeners, for a prefork worker.
    pub(crate) fn become_worker(&mut self) -> Vec<Listener> {
        let listeners = self.listeners.take();
        self.close_listeners();
        listeners
    }

    /// Starts the process or thread for datagrams, if it is due. `close_in_child` closes, in that
    /// process, what the design has of its own.
    pub(crate) fn start_helper_if_due(&mut self, close_in_child: impl FnOnce()) {
        let Some(mut helper) = self.helper.take_if(|helper| helper.is_due()) else { return };
        let as_thread =
            self.options.model == Model::Thread && !self.listeners.as_slice().is_empty();
        let transcript = self.transcript();
        let titles = self.announcer.titles();
        if as_thread {
            helper.start_thread(transcript);
        } else {
            helper.start_process(transcript, titles, |alone| {
                close_in_child();
                self.close_listeners();
                self.children.unmap_lines(alone)
            });
        }
        self.helper = Some(helper);
    }
}
