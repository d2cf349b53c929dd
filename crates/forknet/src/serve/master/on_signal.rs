//! Handles SIGCHLD, SIGHUP and SIGUSR1 in the parent.

use std::sync::Arc;

use log::{info, warn};
use sys::wait::Ended;

use crate::error::{Error, reason};
use crate::serve::children::{EndedChild, log_client};
use crate::serve::datagram_helper::DatagramHelper;
use crate::serve::master::Master;

impl Master {
    /// Handles the signals; returns true after SIGUSR1.
    pub(super) fn handle_signals(&mut self, clients: usize) -> bool {
        self.collect();
        if self.signals.hangup() {
            let noun = self.titles().noun();
            info!("SIGHUP: new {noun}s use the files as they are now");
            self.reread.iter().for_each(|reread| reread());
            self.reopen_transcript();
            if let Err(error) = self.files.reopen_log() {
                warn!("{}: the old file goes on", reason(&error));
            }
            self.renew_signer();
            self.renew_facts();
            self.announcer.reloaded();
        }
        let is_wanted = self.signals.table_wanted();
        if is_wanted {
            self.log_table(clients);
        }
        is_wanted
    }

    /// Reopens the transcript (SIGHUP), for dialogues that begin from now on.
    fn reopen_transcript(&mut self) {
        match self.files.reopen_transcript() {
            Some(Ok(file)) => {
                self.settings.set_transcript(Arc::new(file));
                self.helper.iter_mut().for_each(DatagramHelper::restart);
                self.has_old_processes = true;
            }
            Some(Err(error)) => warn!("{}: the old file goes on", reason(&error)),
            None => {}
        }
    }

    /// Makes another signer, which reads the keys as they are now; if it cannot, the old one goes on. Returns
    /// true if there is a new one.
    pub(super) fn renew_signer(&mut self) -> bool {
        let (Some(keeper), Some(signer)) = (&self.keeper, &mut self.signer) else { return false };
        let control = keeper.signer().map_err(Error::os("signer"));
        match control.and_then(|control| signer.renew(control)) {
            Ok(()) => {
                info!("TLS: new clients meet the certificates as they are now");
                self.has_old_processes = true;
                true
            }
            Err(error) => {
                warn!("TLS: {error}: the old certificates and keys go on");
                false
            }
        }
    }

    /// Has the keeper find out again what sessions must know; if it cannot, what it found before goes on.
    fn renew_facts(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        match keeper.facts() {
            Ok(facts) if facts[..] == *self.settings.facts() => {}
            Ok(facts) => {
                self.settings.set_facts(&facts);
                self.has_old_processes = true;
            }
            Err(error) => warn!("{error}: new clients are offered the same as before"),
        }
    }

    /// Logs the clients (SIGUSR1).
    fn log_table(&self, clients: usize) {
        info!("{clients} of {} {}s", self.options.max_clients, self.titles().noun());
        for (pid, slot, age) in self.children.iter() {
            slot.peer().iter().for_each(|peer| log_client(*peer, pid, slot, Some(age)));
        }
        self.threads.log();
        self.helper.iter().for_each(DatagramHelper::log_line);
    }

    /// Frees the slots of children and threads that have ended, and logs the children's ends.
    pub(super) fn collect(&mut self) {
        let (helper, unrelated) = (&mut self.helper, &mut self.unrelated);
        let ended = self.children.collect(|ended| {
            helper.iter_mut().for_each(|helper| helper.has_ended(ended));
            unrelated.iter_mut().for_each(|unrelated| unrelated.push(ended));
        });
        for slot in self.threads.ended() {
            self.children.release(slot);
        }
        if self.logs_ends {
            ended.iter().for_each(|child| child.log(false));
        } else {
            self.ended_children.extend(ended);
        }
    }

    /// Returns the children that have ended since the last call, for a design that logs their ends itself.
    pub(crate) fn ended_children(&mut self) -> Vec<EndedChild> {
        std::mem::take(&mut self.ended_children)
    }

    /// Keeps the ends of children without a slot for [`Master::unrelated`].
    pub(crate) fn set_keeps_unrelated(&mut self) {
        self.unrelated = Some(Vec::new());
    }

    /// Returns the children without a slot that have ended since the last call.
    pub(crate) fn unrelated(&mut self) -> Vec<Ended> {
        self.unrelated.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
