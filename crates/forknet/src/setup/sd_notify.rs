//! Telling the service manager how it goes: sd_notify(3) and its watchdog without libsystemd.
//!
//! One datagram a message to the UNIX socket `NOTIFY_SOCKET`, which is opened at the start, before
//! chroot and before privileges are dropped. Nothing here ever blocks or stops the server: what the
//! manager has no room for waits in a short queue, and what it cannot take at all is dropped.

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

/// Messages that wait for room at most; of more the oldest are dropped.
const QUEUE: usize = 4;
/// How soon a message that found no room is sent again.
const AGAIN: Duration = Duration::from_millis(100);
/// The count of clients is told this often at most.
const STATUS: Duration = Duration::from_secs(1);
/// The watchdog is fed no oftener than this, whatever was asked.
const MIN_BEAT: Duration = Duration::from_millis(1);

/// The way to the service manager; without one every call does nothing.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
    waiting: VecDeque<String>,
    /// When to try again what is waiting.
    again: Option<Instant>,
    watchdog: Option<Watchdog>,
    told: Status,
    has_failed: bool,
}

/// `WATCHDOG=1` is due in steady beats.
#[derive(Debug)]
struct Watchdog {
    beat: Duration,
    next: Instant,
}

/// The count of clients as it was told last, and whether another one waits to be told.
#[derive(Debug, Default)]
struct Status {
    clients: Option<usize>,
    at: Option<Instant>,
    is_behind: bool,
}

impl Notifier {
    /// Takes `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` out of the environment. What is
    /// malformed, or meant for another process, is left aside, with a line in the log.
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

    /// The server listens. A process that has detached says which one it is.
    pub(crate) fn ready(&mut self, is_detached: bool) {
        let main =
            if is_detached { format!("\nMAINPID={}", std::process::id()) } else { String::new() };
        self.say(format!("READY=1{main}"));
    }

    /// SIGHUP has been heeded: `RELOADING=1` with the time, as `Type=notify-reload` wants it, and
    /// at once `READY=1`, for each client reads the files anew.
    pub(crate) fn reloaded(&mut self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.say(format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
        self.say("READY=1".to_owned());
    }

    /// Listening has ended, and the last clients may take `longest`: the manager waits for them, however
    /// long it would by itself.
    pub(crate) fn stopping(&mut self, clients: usize, longest: Duration) {
        self.told.is_behind = false;
        let s = if clients == 1 { "" } else { "s" };
        let extend = match clients {
            0 => String::new(),
            _ => format!("\nEXTEND_TIMEOUT_USEC={}", longest.as_micros()),
        };
        self.say(format!("STOPPING=1\nSTATUS=stopping, {clients} client{s}{extend}"));
    }

    /// What falls due between two waits: the watchdog's beat, the count of clients where it has
    /// changed, what found no room before. Gives how long the next wait may last because of it.
    pub(crate) fn tend(&mut self, clients: usize, max_clients: usize) -> Option<Duration> {
        self.socket.as_ref()?;
        if self.told.clients != Some(clients) || self.told.is_behind {
            self.tell_status(clients, max_clients);
        }
        self.beat()
    }

    /// As [`Notifier::tend`], without the count: while the server is stopping.
    pub(crate) fn beat(&mut self) -> Option<Duration> {
        self.socket.as_ref()?;
        let now = Instant::now();
        if self.again.is_some_and(|again| again <= now) {
            self.send_waiting();
        }
        if self.watchdog.as_ref().is_some_and(|dog| dog.next <= now) {
            if self.waiting.is_empty() {
                self.say("WATCHDOG=1".to_owned());
            }
            if let Some(dog) = &mut self.watchdog {
                dog.next = now + dog.beat;
            }
        }
        let status = self.told.at.filter(|_| self.told.is_behind).map(|at| at + STATUS);
        let next = [self.watchdog.as_ref().map(|dog| dog.next), self.again, status];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// The children have nothing to tell the manager.
    pub(crate) fn close(&mut self) {
        *self = Notifier::default();
    }

    fn tell_status(&mut self, clients: usize, max_clients: usize) {
        let now = Instant::now();
        self.told.is_behind = self.told.at.is_some_and(|at| now < at + STATUS);
        self.told.clients = Some(clients);
        if !self.told.is_behind {
            self.told.at = Some(now);
            self.say(format!("STATUS={clients} of {max_clients} clients"));
        }
    }

    fn say(&mut self, message: String) {
        if self.socket.is_none() {
            return;
        }
        if self.waiting.len() == QUEUE {
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
                    self.again = Some(Instant::now() + AGAIN);
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

/// A socket that sends to a path, or to an abstract name where the address begins with `@`.
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

/// Half of the interval that the manager asks for, as sd_watchdog_enabled(3) recommends.
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
        Ok(usec) if usec > 0 => Some(Duration::from_micros(usec / 2).max(MIN_BEAT)),
        _ => {
            warn!("WATCHDOG_USEC '{}': not a number of microseconds: no watchdog", shown(usec));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A notifier and the manager's end of its socket.
    fn notifier(watchdog: Option<Duration>) -> (Notifier, UnixDatagram) {
        let (ours, managers) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        managers.set_read_timeout(Some(testkit::WATCHDOG)).unwrap();
        let watchdog = watchdog.map(|beat| Watchdog { beat, next: Instant::now() });
        (Notifier { socket: Some(ours), watchdog, ..Notifier::default() }, managers)
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 200];
        let n = manager.recv(&mut buffer).unwrap();
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
    fn messages_are_as_the_manager_reads_them() {
        let (mut notifier, manager) = notifier(None);
        notifier.ready(false);
        assert_eq!(heard(&manager), "READY=1");
        notifier.ready(true);
        assert_eq!(heard(&manager), format!("READY=1\nMAINPID={}", std::process::id()));
        notifier.reloaded();
        let reloading = heard(&manager);
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
        assert_eq!(heard(&manager), "READY=1");
        notifier.stopping(0, Duration::from_secs(9));
        assert_eq!(heard(&manager), "STOPPING=1\nSTATUS=stopping, 0 clients");
        notifier.stopping(3, Duration::from_secs(9));
        let stopping = "STOPPING=1\nSTATUS=stopping, 3 clients\nEXTEND_TIMEOUT_USEC=9000000";
        assert_eq!(heard(&manager), stopping);
    }

    #[test]
    fn the_watchdog_is_fed_when_it_is_due_and_the_wait_is_no_longer_than_to_the_next_beat() {
        let beat = Duration::from_secs(60);
        let (mut notifier, manager) = notifier(Some(beat));
        assert!(notifier.beat().unwrap() <= beat);
        assert_eq!(heard(&manager), "WATCHDOG=1");
        manager.set_nonblocking(true).unwrap();
        assert!(notifier.beat().unwrap() > beat / 2);
        assert!(manager.recv(&mut [0]).is_err(), "not due yet");
    }

    #[test]
    fn the_count_of_clients_is_told_once_a_second_at_most_and_never_forgotten() {
        let (mut notifier, manager) = notifier(None);
        assert_eq!(notifier.tend(1, 9), None);
        assert_eq!(heard(&manager), "STATUS=1 of 9 clients");
        assert_eq!(notifier.tend(1, 9), None, "nothing new");
        assert!(notifier.tend(2, 9).unwrap() <= STATUS);
        assert!(notifier.tend(3, 9).unwrap() <= STATUS);
        notifier.told.at = Instant::now().checked_sub(STATUS);
        assert_eq!(notifier.tend(3, 9), None);
        assert_eq!(heard(&manager), "STATUS=3 of 9 clients");
    }

    #[test]
    fn a_manager_that_does_not_read_never_blocks_and_hears_the_rest_later() {
        let (mut notifier, manager) = notifier(None);
        for clients in 0..2000 {
            notifier.stopping(clients, STATUS);
        }
        assert!(notifier.waiting.len() == QUEUE && notifier.beat().unwrap() <= AGAIN);
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
    fn a_manager_that_is_gone_or_never_was_is_no_reason_to_stop() {
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
        assert_eq!((nobody.tend(1, 2), nobody.beat()), (None, None));
    }
}
