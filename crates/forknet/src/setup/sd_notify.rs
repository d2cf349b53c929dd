//! Reports to the service manager: sd_notify(3) and its watchdog without libsystemd.
//!
//! Sends one datagram per message to the UNIX socket `NOTIFY_SOCKET`, which is opened at the start,
//! before chroot and before privileges are dropped. Nothing here blocks or stops the server:
//! messages wait in a short queue for room, and are dropped on other errors.

use std::collections::VecDeque;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use log::{debug, warn};
use nix::time::{ClockId, clock_gettime};

use sys::proctitle::take_variable;

use crate::error::reason;
use crate::text::shown;

/// Most messages that wait for room; beyond that the oldest are dropped.
const MAX_QUEUE: usize = 4;
/// Pause before a message that found no room is sent again.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Shortest time between two reports of the count of clients.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two messages to the watchdog, whatever was requested.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The socket to the service manager; without one every call does nothing.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
    waiting: VecDeque<String>,
    /// When to send the waiting messages again.
    again: Option<Instant>,
    watchdog: Option<Watchdog>,
    status: Status,
    has_failed: bool,
}

/// Sends `WATCHDOG=1` periodically.
#[derive(Debug)]
struct Watchdog {
    beat: Duration,
    next: Instant,
}

/// The last reported count of clients, and whether a new one waits.
#[derive(Debug, Default)]
struct Status {
    clients: Option<usize>,
    at: Option<Instant>,
    is_behind: bool,
}

impl Notifier {
    /// Removes `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` from the environment. Ignores
    /// malformed values and those for another process, and logs that.
    pub(crate) fn from_environment() -> Notifier {
        let address = take_variable("NOTIFY_SOCKET");
        let (usec, pid) = (take_variable("WATCHDOG_USEC"), take_variable("WATCHDOG_PID"));
        let Some(address) = address else { return Notifier::default() };
        match open(&address) {
            Ok(socket) => {
                let beat = half_interval(usec.as_deref(), pid.as_deref(), std::process::id());
                let watchdog = beat.map(|beat| Watchdog { beat, next: Instant::now() });
                Notifier { socket: Some(socket), watchdog, ..Notifier::default() }
            }
            Err(error) => {
                warn!("NOTIFY_SOCKET '{}': {}", shown(&address), reason(&error));
                Notifier::default()
            }
        }
    }

    /// Reports that the server listens, with its process id if it has detached.
    pub(crate) fn ready(&mut self, is_detached: bool) {
        let main =
            if is_detached { format!("\nMAINPID={}", std::process::id()) } else { String::new() };
        self.queue_message(format!("READY=1{main}"));
    }

    /// Reports that SIGHUP was handled: `RELOADING=1` with the time, as `Type=notify-reload`
    /// requires, and then `READY=1`.
    pub(crate) fn reloaded(&mut self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.queue_message(format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
        self.queue_message("READY=1".to_owned());
    }

    /// Reports that the server stops, and asks the manager to wait `longest` for the last clients.
    pub(crate) fn stopping(&mut self, clients: usize, longest: Duration) {
        self.status.is_behind = false;
        let s = if clients == 1 { "" } else { "s" };
        let extend = match clients {
            0 => String::new(),
            _ => format!("\nEXTEND_TIMEOUT_USEC={}", longest.as_micros()),
        };
        self.queue_message(format!("STOPPING=1\nSTATUS=stopping, {clients} client{s}{extend}"));
    }

    /// Sends what is due: to the watchdog, a changed count of clients, and messages that found no
    /// room. Returns the time until the next call.
    pub(crate) fn tick(&mut self, clients: usize, max_clients: usize) -> Option<Duration> {
        self.socket.as_ref()?;
        if self.status.clients != Some(clients) || self.status.is_behind {
            self.report_status(clients, max_clients);
        }
        self.beat()
    }

    /// As [`Notifier::tick`], without the count, while the server is stopping.
    pub(crate) fn beat(&mut self) -> Option<Duration> {
        self.socket.as_ref()?;
        let now = Instant::now();
        if self.again.is_some_and(|again| again <= now) {
            self.send_waiting();
        }
        if self.watchdog.as_ref().is_some_and(|dog| dog.next <= now) {
            if self.waiting.is_empty() {
                self.queue_message("WATCHDOG=1".to_owned());
            }
            if let Some(dog) = &mut self.watchdog {
                dog.next = now + dog.beat;
            }
        }
        let status =
            self.status.at.filter(|_| self.status.is_behind).map(|at| at + STATUS_INTERVAL);
        let next = [self.watchdog.as_ref().map(|dog| dog.next), self.again, status];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Closes the socket, in a child.
    pub(crate) fn close(&mut self) {
        *self = Notifier::default();
    }

    fn report_status(&mut self, clients: usize, max_clients: usize) {
        let now = Instant::now();
        self.status.is_behind = self.status.at.is_some_and(|at| now < at + STATUS_INTERVAL);
        self.status.clients = Some(clients);
        if !self.status.is_behind {
            self.status.at = Some(now);
            self.queue_message(format!("STATUS={clients} of {max_clients} clients"));
        }
    }

    fn queue_message(&mut self, message: String) {
        if self.socket.is_none() {
            return;
        }
        if self.waiting.len() == MAX_QUEUE {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        self.again = None;
        let Some(socket) = &self.socket else { return };
        while let Some(message) = self.waiting.front() {
            match socket.send(message.as_bytes()) {
                Ok(_) => debug!("service manager: {}", message.replace('\n', " ")),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.again = Some(Instant::now() + RETRY_INTERVAL);
                    return;
                }
                Err(error) if !self.has_failed => {
                    warn!("NOTIFY_SOCKET: {}; the service manager is not told", reason(&error));
                    self.has_failed = true;
                }
                Err(error) => debug!("NOTIFY_SOCKET: {}", reason(&error)),
            }
            self.waiting.pop_front();
        }
    }
}

/// Opens a socket that sends to a path, or to an abstract name where the address begins with `@`.
fn open(address: &str) -> io::Result<UnixDatagram> {
    let to = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if address.starts_with('/') => SocketAddr::from_pathname(address)?,
        None => return Err(io::Error::other("neither a path nor @NAME")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&to)?;
    Ok(socket)
}

/// Returns half of the interval that the manager requests, as sd_watchdog_enabled(3) recommends.
fn half_interval(usec: Option<&str>, pid: Option<&str>, me: u32) -> Option<Duration> {
    let usec = usec?;
    match pid.map(str::parse::<u32>) {
        Some(Err(_)) => {
            warn!("WATCHDOG_PID '{}': not a process id: no watchdog", shown(pid?));
            return None;
        }
        Some(Ok(pid)) if pid != me => return None,
        _ => {}
    }
    match usec.parse::<u64>() {
        Ok(usec) if usec > 0 => Some(Duration::from_micros(usec / 2).max(MIN_INTERVAL)),
        _ => {
            warn!("WATCHDOG_USEC '{}': not a number of microseconds: no watchdog", shown(usec));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a notifier and the manager's end of its socket.
    fn notifier(watchdog: Option<Duration>) -> (Notifier, UnixDatagram) {
        let (ours, managers) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        managers.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        let watchdog = watchdog.map(|beat| Watchdog { beat, next: Instant::now() });
        (Notifier { socket: Some(ours), watchdog, ..Notifier::default() }, managers)
    }

    fn received(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 200];
        let n = testkit::uninterrupted(|| manager.recv(&mut buffer)).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn half_of_the_interval_for_this_process_only() {
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(half_interval(Some("3000000"), None, 42), ms(1500));
        assert_eq!(half_interval(Some("3000000"), Some("42"), 42), ms(1500));
        assert_eq!(half_interval(Some("3000000"), Some("41"), 42), None);
        assert_eq!(half_interval(None, Some("42"), 42), None);
        assert_eq!(half_interval(Some("1"), None, 42), ms(1), "no spinning");
        for odd in ["", "0", "-5", "3s", "99999999999999999999999"] {
            assert_eq!(half_interval(Some(odd), None, 42), None, "{odd}");
        }
        assert_eq!(half_interval(Some("3000000"), Some("me"), 42), None);
    }

    #[test]
    fn messages_have_the_manager_s_format() {
        let (mut notifier, manager) = notifier(None);
        notifier.ready(false);
        assert_eq!(received(&manager), "READY=1");
        notifier.ready(true);
        assert_eq!(received(&manager), format!("READY=1\nMAINPID={}", std::process::id()));
        notifier.reloaded();
        let reloading = received(&manager);
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
        assert_eq!(received(&manager), "READY=1");
        notifier.stopping(0, Duration::from_secs(9));
        assert_eq!(received(&manager), "STOPPING=1\nSTATUS=stopping, 0 clients");
        notifier.stopping(3, Duration::from_secs(9));
        let stopping = "STOPPING=1\nSTATUS=stopping, 3 clients\nEXTEND_TIMEOUT_USEC=9000000";
        assert_eq!(received(&manager), stopping);
    }

    #[test]
    fn the_watchdog_is_notified_when_due_and_waits_end_before_that() {
        let beat = Duration::from_secs(60);
        let (mut notifier, manager) = notifier(Some(beat));
        assert!(notifier.beat().unwrap() <= beat);
        assert_eq!(received(&manager), "WATCHDOG=1");
        manager.set_nonblocking(true).unwrap();
        assert!(notifier.beat().unwrap() > beat / 2);
        assert!(manager.recv(&mut [0]).is_err(), "not due yet");
    }

    #[test]
    fn the_count_of_clients_is_reported_once_a_second_at_most_and_never_lost() {
        let (mut notifier, manager) = notifier(None);
        assert_eq!(notifier.tick(1, 9), None);
        assert_eq!(received(&manager), "STATUS=1 of 9 clients");
        assert_eq!(notifier.tick(1, 9), None, "nothing new");
        assert!(notifier.tick(2, 9).unwrap() <= STATUS_INTERVAL);
        assert!(notifier.tick(3, 9).unwrap() <= STATUS_INTERVAL);
        notifier.status.at = Instant::now().checked_sub(STATUS_INTERVAL);
        assert_eq!(notifier.tick(3, 9), None);
        assert_eq!(received(&manager), "STATUS=3 of 9 clients");
    }

    #[test]
    fn a_manager_that_does_not_read_blocks_nothing_and_receives_the_rest_later() {
        let (mut notifier, manager) = notifier(None);
        for clients in 0..2000 {
            notifier.stopping(clients, STATUS_INTERVAL);
        }
        assert!(notifier.waiting.len() == MAX_QUEUE && notifier.beat().unwrap() <= RETRY_INTERVAL);
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0]).is_ok() {}
        notifier.again = Some(Instant::now());
        assert_eq!(notifier.beat(), None);
        let mut last = String::new();
        let mut buffer = [0; 200];
        while let Ok(n) = manager.recv(&mut buffer) {
            last = String::from_utf8(buffer[..n].to_vec()).unwrap();
        }
        assert!(last.contains("1999"), "{last}");
    }

    #[test]
    fn a_missing_manager_stops_nothing() {
        let (mut notifier, manager) = notifier(Some(Duration::from_secs(1)));
        drop(manager);
        notifier.ready(false);
        notifier.reloaded();
        assert!(notifier.waiting.is_empty() && notifier.beat().is_some());
        for odd in ["", "relative/path", "vsock:2:1234", "/no/such/socket", "@no-such-name"] {
            assert!(open(odd).is_err(), "{odd}");
        }
        let mut nobody = Notifier::default();
        nobody.ready(true);
        assert_eq!((nobody.tick(1, 2), nobody.beat()), (None, None));
    }
}
