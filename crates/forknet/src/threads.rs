//! The table of clients of the thread model.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{debug, info};
use nix::sys::socket::{Shutdown, shutdown};

use crate::accept::Peer;
use crate::error::strerror;
use crate::scoreboard::Progress;

/// How soon the main thread looks whose thread has ended, while clients come and go.
const LOOK: Duration = Duration::from_millis(10);

/// All clients that are served by threads of this process.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    table: Mutex<Table>,
    /// There was a client. Until then the lock is left alone: other models fork, and what their parent
    /// writes to has to be copied.
    is_used: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<u64, Entry>,
    /// Those whose places the main thread has not taken back yet.
    ended: Vec<(Peer, Progress)>,
    /// There were such when the main thread last looked.
    comes_and_goes: bool,
    /// The main thread looks again soon, and need not be told.
    looks: bool,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    since: Instant,
    progress: Progress,
    /// Open as long as the entry is in the table: the thread removes it before it closes.
    socket: RawFd,
}

impl Threads {
    /// A panic while the table is locked is not possible; one that was would not spoil it.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that a thread is about to serve; gives its number.
    pub(crate) fn add(&self, peer: Peer, progress: Progress, socket: RawFd) -> u64 {
        self.is_used.store(true, Relaxed);
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.clients.insert(number, Entry { peer, since: Instant::now(), progress, socket });
        number
    }

    /// The session has ended, its socket is about to be closed. True when the main thread has to be
    /// told; if it was before, it still has to come.
    pub(crate) fn end(&self, number: u64) -> bool {
        let mut table = self.table();
        let Some(entry) = table.clients.remove(&number) else { return false };
        table.ended.push((entry.peer, entry.progress));
        table.ended.len() == 1 && !table.looks
    }

    /// For the main thread, about to wait: after how long it should look again. While clients come
    /// and go it looks by itself, which is cheaper than to be woken by each thread that ends; unless
    /// a client waits for a place.
    pub(crate) fn look_again(&self, is_urgent: bool) -> Option<Duration> {
        if !self.is_used.load(Relaxed) {
            return None;
        }
        let mut table = self.table();
        table.looks = table.comes_and_goes && !is_urgent;
        let now = !table.looks && !table.ended.is_empty();
        if now { Some(Duration::ZERO) } else { table.looks.then_some(LOOK) }
    }

    /// Those that have ended since the last call.
    pub(crate) fn ended(&self) -> Vec<(Peer, Progress)> {
        if !self.is_used.load(Relaxed) {
            return Vec::new();
        }
        let mut table = self.table();
        table.comes_and_goes = !table.ended.is_empty();
        std::mem::take(&mut table.ended)
    }

    pub(crate) fn len(&self) -> usize {
        if self.is_used.load(Relaxed) { self.table().clients.len() } else { 0 }
    }

    /// shutdown(2) of every client's socket: each session reads end of file, and ends.
    pub(crate) fn shut_down(&self) {
        for entry in self.table().clients.values() {
            if let Err(errno) = shutdown(entry.socket, Shutdown::Both) {
                debug!("client {}: shutdown: {}", entry.peer, strerror(errno));
            }
        }
    }

    /// SIGUSR1: the clients into the log.
    pub(crate) fn log(&self) {
        for entry in self.table().clients.values() {
            let (received, sent) = entry.progress.octets();
            let age = entry.since.elapsed().as_secs();
            info!("client {}: {received} in, {sent} out, for {age} s", entry.peer);
        }
    }
}
