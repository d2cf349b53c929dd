//! The table of clients of the thread model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::info;

use crate::net::peer::Peer;
use crate::serve::scoreboard::Slot;
use crate::serve::session::Conn;

/// Interval of the main thread's checks for ended threads, while there are such.
const ENDED_POLL: Duration = Duration::from_millis(10);

/// All clients that are served by threads of this process.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    table: Mutex<Table>,
    /// There was a client. Before that the lock is not taken, which other designs never need.
    is_used: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// By the number of the slot.
    clients: HashMap<usize, Entry>,
    /// Ended clients whose slots the main thread has not freed yet.
    ended: Vec<Slot>,
    /// The last check found ended clients.
    is_busy: bool,
    /// The main thread checks again soon, and need not be woken.
    is_watched: bool,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    since: Instant,
    /// The connection, until the thread takes it.
    conn: Option<Conn>,
}

impl Threads {
    /// Locks the table. A poisoned lock is ignored, because nothing panics while it is held.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a client that a thread is about to serve.
    pub(crate) fn add(&self, slot: Slot, conn: Conn) {
        self.is_used.store(true, Relaxed);
        let entry = Entry { slot, since: Instant::now(), conn: Some(conn) };
        self.table().clients.insert(slot.number(), entry);
    }

    /// Returns the connection of a client to its thread; `None` if it was taken already.
    pub(crate) fn take(&self, slot: Slot) -> Option<Conn> {
        self.table().clients.get_mut(&slot.number())?.conn.take()
    }

    /// Removes a client whose thread could not be created; returns its connection.
    pub(crate) fn remove(&self, slot: Slot) -> Option<Conn> {
        self.table().clients.remove(&slot.number())?.conn
    }

    /// Sets the peer of a client, which a proxy has told its thread; its end releases that peer.
    /// False when it has ended.
    pub(crate) fn set_peer(&self, number: usize, peer: Peer) -> bool {
        let mut table = self.table();
        let entry = table.clients.get_mut(&number);
        entry.map(|entry| entry.slot = entry.slot.with_peer(peer)).is_some()
    }

    /// Notes the end of a session. Returns true when the main thread must be woken.
    pub(crate) fn end(&self, slot: Slot) -> bool {
        let mut table = self.table();
        // Its slot may have got another peer.
        let slot = table.clients.remove(&slot.number()).map_or(slot, |entry| entry.slot);
        table.ended.push(slot);
        table.ended.len() == 1 && !table.is_watched
    }

    /// Returns the time until the main thread's next check. While clients end frequently it checks
    /// by itself, which is cheaper than a wake-up for each, unless a client waits for a slot.
    pub(crate) fn poll_in(&self, is_urgent: bool) -> Option<Duration> {
        if !self.is_used.load(Relaxed) {
            return None;
        }
        let mut table = self.table();
        table.is_watched = table.is_busy && !is_urgent;
        let now = !table.is_watched && !table.ended.is_empty();
        if now { Some(Duration::ZERO) } else { table.is_watched.then_some(ENDED_POLL) }
    }

    /// Returns the slots of clients that have ended since the last call.
    pub(crate) fn ended(&self) -> Vec<Slot> {
        if !self.is_used.load(Relaxed) {
            return Vec::new();
        }
        let mut table = self.table();
        table.is_busy = !table.ended.is_empty();
        std::mem::take(&mut table.ended)
    }

    pub(crate) fn len(&self) -> usize {
        if self.is_used.load(Relaxed) { self.table().clients.len() } else { 0 }
    }

    /// Logs the clients (SIGUSR1).
    pub(crate) fn log(&self) {
        if !self.is_used.load(Relaxed) {
            return;
        }
        for Entry { slot, since, .. } in self.table().clients.values() {
            let (received, sent) = slot.counters().bytes();
            let age = since.elapsed().as_secs();
            if let Some(peer) = slot.peer() {
                info!("client {peer}: {received} in, {sent} out, for {age} s");
            }
        }
    }
}
