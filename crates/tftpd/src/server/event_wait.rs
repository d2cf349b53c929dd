//! Waits for events on a single port: busy polling, then ppoll(2).

use std::time::{Duration, Instant};

use forknet::{Event, Result, UdpLoop};

use crate::transfer::busy_poll::BusyPoll;

/// Longest time without polling for signals.
const MAX_SIGNAL_DELAY: Duration = Duration::from_millis(5);

/// Waits for events, and measures how long that usually takes.
#[derive(Debug)]
pub(super) struct EventWait {
    busy_poll: BusyPoll,
    /// Smoothed duration of a wait in ppoll(2), once one was measured.
    typical: Option<Duration>,
    /// When ppoll(2) last polled for signals.
    signals_polled_at: Instant,
}

impl EventWait {
    /// Creates one without measurements.
    pub(super) fn new() -> EventWait {
        EventWait {
            busy_poll: BusyPoll::default(),
            typical: None,
            signals_polled_at: Instant::now(),
        }
    }

    /// Waits for an event or `deadline`. `clients` is the number of clients being served.
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
        self.signals_polled_at = Instant::now();
        let took = self.signals_polled_at.duration_since(begin);
        self.typical = Some(self.typical.map_or(took, |typical| typical * 7 / 8 + took / 8));
        Ok(event)
    }

    /// Busy-polls for a datagram if one usually comes soon, bounded by `deadline` and
    /// [`MAX_SIGNAL_DELAY`].
    fn poll(
        &mut self,
        socket: &mut UdpLoop,
        deadline: Option<Instant>,
        begin: Instant,
    ) -> Option<Event> {
        let latest = self.signals_polled_at + MAX_SIGNAL_DELAY;
        let latest = deadline.map_or(latest, |deadline| deadline.min(latest));
        if begin >= latest {
            return None;
        }
        let end = latest.min(begin + self.busy_poll.duration(self.typical));
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
