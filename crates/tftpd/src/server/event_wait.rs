//! The wait of a process that serves all clients from one port: busy polling, then ppoll(2).

use std::time::{Duration, Instant};

use forknet::{Event, Result, UdpLoop};

use crate::transfer::busy_poll::BusyPoll;

/// Longest time without letting signals in.
const MAX_DEAF: Duration = Duration::from_millis(5);

/// Waits for events, and knows how long they usually take.
#[derive(Debug)]
pub(super) struct EventWait {
    busy_poll: BusyPoll,
    /// About the time until something happens, once that was measured.
    usual: Option<Duration>,
    /// When signals were let in last.
    signals_at: Instant,
}

impl EventWait {
    /// Makes one that has measured nothing yet.
    pub(super) fn new() -> EventWait {
        EventWait { busy_poll: BusyPoll::default(), usual: None, signals_at: Instant::now() }
    }

    /// Waits until something happens, until `deadline` at the latest; `clients` are served now.
    ///
    /// # Errors
    /// ppoll(2) failed.
    pub(super) fn next(
        &mut self,
        socket: &mut UdpLoop,
        deadline: Option<Instant>,
        clients: usize,
    ) -> Result<Event> {
        if let Some(event) = socket.next_ready() {
            return Ok(event);
        }
        let begin = Instant::now();
        if clients > 0
            && socket.can_poll()
            && let Some(event) = self.poll(socket, deadline, begin)
        {
            return Ok(event);
        }
        let event = socket.wait(deadline, clients)?;
        self.signals_at = Instant::now();
        let took = self.signals_at.duration_since(begin);
        self.usual = Some(self.usual.map_or(took, |usual| usual * 7 / 8 + took / 8));
        Ok(event)
    }

    /// Polls for a datagram, where one usually comes at once; no longer than signals and the deadline
    /// may wait.
    fn poll(
        &mut self,
        socket: &mut UdpLoop,
        deadline: Option<Instant>,
        begin: Instant,
    ) -> Option<Event> {
        let latest = self.signals_at + MAX_DEAF;
        let latest = deadline.map_or(latest, |deadline| deadline.min(latest));
        if begin >= latest {
            return None;
        }
        let end = latest.min(begin + self.busy_poll.duration(self.usual));
        let mut now = begin;
        while now < end {
            let event = socket.poll_now();
            if event.is_some() {
                if now > begin {
                    self.busy_poll.polled(true);
                }
                return event;
            }
            now = Instant::now();
        }
        if end > begin {
            self.busy_poll.polled(false);
        }
        None
    }
}
