//! Accepts clients, acquires a slot for each, and refuses those over a limit.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Result, reason, strerror};
use crate::net::peer::Peer;
use crate::options::limits::Over;
use crate::options::model::Model;
use crate::serve::limits::Refusal;
use crate::serve::master::Master;
use crate::serve::permit::Answer;
use crate::serve::refusals::Refusals;
use crate::serve::scoreboard::Slot;
use crate::serve::session::Conn;

/// Interval of checks during the grace, because no signal reports that a prefork worker has become
/// idle.
const GRACE_POLL: Duration = Duration::from_millis(1);

impl Master {
    /// Returns true when the next client has to wait in the backlog (`--over queue`), because no slot is
    /// free.
    pub(super) fn must_queue(&mut self) -> bool {
        self.options.over == Over::Queue && self.children.is_full()
    }

    /// Accepts a client; returns `None` if it has gone, or has to wait in the backlog.
    ///
    /// # Errors
    /// The listener itself is broken.
    pub(crate) fn accept(&mut self, number: usize) -> Result<Option<Conn>> {
        if self.must_queue() {
            return Ok(None); // the last client has taken the last slot
        }
        let Some(listener) = self.listeners.get(number) else { return Ok(None) };
        match listener.accept() {
            Ok(accepted) => {
                self.spare_fd.recovered();
                let mut conn = Conn::accepted(accepted, self.settings);
                conn.set_interrupts(self.server_end.interrupts());
                Ok(Some(conn))
            }
            Err(errno) => {
                let words = listener.refusal(&self.refusals.replies().unavailable);
                let tolerated = self.spare_fd.accept_failed(listener, words, errno);
                tolerated.map_err(Error::os(format!("accept {listener}")))?;
                Ok(None)
            }
        }
    }

    /// Acquires a slot for a client and a line to the keeper, or refuses a client over a limit.
    ///
    /// # Errors
    /// The keeper has ended.
    pub(crate) fn admit(&mut self, conn: &mut Conn) -> Result<Option<Slot>> {
        let peer = conn.peer();
        let slot = match self.after_grace(|master| master.children.admit(peer)) {
            Ok(slot) => slot,
            Err(refusal) => {
                self.refuse(conn, refusal);
                return Ok(None);
            }
        };
        let lines = self.line(Some(peer))?.and_then(|line| {
            self.let_ask(conn, slot)?;
            Ok((line, self.signer_line()?))
        });
        match lines {
            Ok((line, signer)) => {
                conn.set_line(line);
                conn.set_signer(signer);
                Ok(Some(slot))
            }
            Err(errno) => {
                self.cannot_ask(conn, slot, errno);
                Ok(None)
            }
        }
    }

    /// Lets the process or thread that will serve a proxy's connection ask about the client.
    fn let_ask(&mut self, conn: &mut Conn, slot: Slot) -> std::result::Result<(), Errno> {
        if conn.awaits_header() && self.options.model != Model::Iterative {
            conn.set_permit(self.children.let_ask(slot)?);
        }
        Ok(())
    }

    /// Answers those that ask about the client that a proxy has told them. Each may ask once.
    pub(super) fn answer_told(&mut self) {
        for (number, peer) in self.children.told() {
            match self.after_grace(|master| master.children.admit_told(number, peer)) {
                Ok(()) => {
                    let threads = self.options.model == Model::Thread;
                    if threads && !self.threads.set_peer(number, peer) {
                        self.children.release_told(peer); // its thread has ended
                    }
                    self.children.answer_told(number, Answer::Yes);
                }
                Err(refusal) => {
                    self.log_refusal(peer, refusal);
                    let is_rate = matches!(refusal, Refusal::TooOften(_));
                    let answer = if is_rate { Answer::TooOften } else { Answer::PerAddress };
                    self.children.answer_told(number, answer);
                }
            }
        }
    }

    /// Reads the header of a proxy in this process, which serves the client itself; counts the client, or
    /// refuses it and frees its slot. Does nothing for other connections.
    pub(crate) fn admit_told(&mut self, conn: &mut Conn, slot: Slot) -> Option<Slot> {
        if !conn.awaits_header() {
            return Some(slot);
        }
        if conn.read_proxy().is_ok() {
            match self.children.admit_own(conn.peer()) {
                Ok(()) => return Some(slot.with_peer(conn.peer())),
                Err(refusal) => self.refuse(conn, refusal),
            }
        }
        self.children.release(slot);
        None
    }

    /// Refuses a client without a line to the keeper, and frees its slot.
    #[cold]
    fn cannot_ask(&mut self, conn: &Conn, slot: Slot, errno: Errno) {
        self.log_refusal(conn.peer(), format_args!("keeper or signer: {}", strerror(errno)));
        self.children.release(slot);
        conn.refuse(&self.refusals.replies().unavailable);
    }

    /// Refuses a client over a limit.
    pub(crate) fn refuse(&mut self, conn: &Conn, refusal: Refusal) {
        self.log_refusal(conn.peer(), refusal);
        conn.refuse(&self.refusals.replies().busy);
    }

    /// Refuses a client without a process, and frees its slot.
    #[cold]
    pub(crate) fn cannot_serve(&mut self, conn: Conn, slot: Slot, error: impl Into<io::Error>) {
        let call = if self.options.model == Model::Thread { "thread" } else { "fork" };
        let why = reason(&error.into());
        self.log_refusal(conn.peer(), format_args!("{call}: {why}"));
        self.children.release(slot);
        conn.refuse(&self.refusals.replies().unavailable);
        drop(conn);
    }

    /// The rates of log lines that strangers cause.
    pub(crate) fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// Logs that a client is refused, within the rate of such lines.
    pub(crate) fn log_refusal(&mut self, peer: Peer, why: impl std::fmt::Display) {
        self.refusals.log(peer, why);
    }

    /// Logs that the process of a client was ended in favour of another.
    pub(crate) fn log_gave_way(&mut self, peer: Peer, pid: i32, how: &str) {
        self.refusals.log_gave_way(peer, pid, how);
    }

    /// Tries again where a limit seems to be reached.
    ///
    /// A client that closes and connects again may be quicker than the end of the process that
    /// served it. So the parent waits up to 10 ms for a slot. After a wait without success it does
    /// not wait again for a second.
    pub(crate) fn after_grace<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Master) -> std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        let begin = Instant::now();
        loop {
            let refusal = match attempt(self) {
                Ok(slot) => return Ok(slot),
                Err(refusal @ Refusal::TooOften(_)) => return Err(refusal),
                Err(refusal) => refusal,
            };
            let left = self.refusals.grace(begin);
            if left.is_zero() {
                self.refusals.grace_failed(begin);
                return Err(refusal);
            }
            self.pause(left.min(GRACE_POLL));
            self.collect();
        }
    }
}
