//! The table of clients of the thread model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::info;

use crate::serve::scoreboard::Slot;
use crate::serve::session::Conn;

/// How soon the main thread looks for threads that have ended, while clients come and go.
const ENDED_POLL: Duration = Duration::from_millis(10);

/// All clients that are served by threads of this process.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    table: Mutex<Table>,
    /// There was a client. Until then the lock is left alone, which other designs never need.
    is_used: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// By the number of the place.
    clients: HashMap<usize, Entry>,
    /// Those whose places the main thread has not taken back yet.
    ended: Vec<Slot>,
    /// There were such when the main thread last looked.
    is_busy: bool,
    /// The main thread looks again soon, and need not be told.
    is_watched: bool,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    since: Instant,
    /// Until the thread takes it.
    conn: Option<Conn>,
}

impl Threads {
    /// A panic while the table is locked is not possible; one that was would not spoil it.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that a thread is about to serve.
    pub(crate) fn add(&self, slot: Slot, conn: Conn) {
        self.is_used.store(true, Relaxed);
        let entry = Entry { slot, since: Instant::now(), conn: Some(conn) };
        self.table().clients.insert(slot.number(), entry);
    }

    /// The connection of a client, for the thread that serves it; `None` where that was taken already.
    pub(crate) fn take(&self, slot: Slot) -> Option<Conn> {
        self.table().clients.get_mut(&slot.number())?.conn.take()
    }

    /// No thread serves that client after all: gives its connection back.
    pub(crate) fn remove(&self, slot: Slot) -> Option<Conn> {
        self.table().clients.remove(&slot.number())?.conn
    }

    /// The session has ended. True when the main thread has to be told; if it was before, it still has to
    /// come.
    pub(crate) fn end(&self, slot: Slot) -> bool {
        let mut table = self.table();
        table.clients.remove(&slot.number());
        table.ended.push(slot);
        table.ended.len() == 1 && !table.is_watched
    }

    /// For the main thread, about to wait: after how long it should look again. While clients come
    /// and go it looks by itself, which is cheaper than to be woken by each thread that ends; unless
    /// a client waits for a place.
    pub(crate) fn poll_in(&self, is_urgent: bool) -> Option<Duration> {
        if !self.is_used.load(Relaxed) {
            return None;
        }
        let mut table = self.table();
        table.is_watched = table.is_busy && !is_urgent;
        let now = !table.is_watched && !table.ended.is_empty();
        if now { Some(Duration::ZERO) } else { table.is_watched.then_some(ENDED_POLL) }
    }

    /// Those that have ended since the last call.
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

    /// SIGUSR1: the clients into the log.
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
