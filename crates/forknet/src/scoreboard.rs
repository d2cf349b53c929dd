//! A page or two of memory that parent and children share: a child writes what it has done, the
//! parent reads it when it logs. Nobody waits for anybody.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::accept::Peer;
use crate::error::{Error, Result};
use crate::shared::{self, Shared};

/// One client's line on the scoreboard.
#[derive(Debug, Default)]
#[repr(C)]
struct Slot {
    received: AtomicU64,
    sent: AtomicU64,
    /// When the work was complete, in nanoseconds since 1970; 0 before that.
    done: AtomicU64,
    /// When the request came again, in nanoseconds since 1970; 0 when it did not, or the process knows.
    asked_again: AtomicU64,
    lingers: AtomicBool,
    /// A prefork worker's, whose clients come and go.
    is_workers: AtomicBool,
    /// Whom the process serves: address, then what [`Progress::serves`] puts beside the port.
    address: [AtomicU64; 2],
    client: AtomicU64,
    /// When the process was forked or the worker's client came, in nanoseconds since the server's
    /// start.
    since: AtomicU64,
    /// Tells a datagram's request from another of the same peer; 0 for streams.
    request: AtomicU64,
    /// The number of the next free line, and one more; 0 at the end.
    next_free: AtomicUsize,
}

// SAFETY: all fields are atomic, and zero is a slot of nobody.
unsafe impl Shared for Slot {}

/// What a slot holds beside the port and, above them, an IPv6 address's scope.
const ON_THE_NETWORK: u64 = 1 << 16;
const ON_THIS_MACHINE: u64 = 2 << 16;
const KIND: u64 = 3 << 16;

/// What one client's process reports to the parent.
#[derive(Clone, Copy, Debug)]
pub struct Progress(&'static Slot, usize);

impl Progress {
    /// Counts octets that came from the client.
    pub fn received(&self, octets: usize) {
        self.0.received.fetch_add(octets as u64, Relaxed);
    }

    /// Counts octets that go to the client.
    pub fn sent(&self, octets: usize) {
        self.0.sent.fetch_add(octets as u64, Relaxed);
    }

    /// The work asked for is complete since `at`. For datagrams: the same request from the same
    /// peer is a new one if it came then or later; what came earlier was only sent again.
    pub fn done(&self, at: SystemTime) {
        self.0.done.store(nanoseconds(at), Relaxed);
    }

    /// When the work was complete, if it is.
    pub(crate) fn done_at(self) -> Option<SystemTime> {
        match self.0.done.load(Relaxed) {
            0 => None,
            at => Some(UNIX_EPOCH + Duration::from_nanos(at)),
        }
    }

    /// The child has nothing left to do but to stay in case its last words were lost: it may be
    /// ended when its place is wanted.
    pub fn lingers(&self) {
        self.0.lingers.store(true, Relaxed);
    }

    pub(crate) fn is_lingering(self) -> bool {
        self.0.lingers.load(Relaxed)
    }

    /// The request came once more `at` this time, while the process answers it.
    pub(crate) fn ask_again(self, at: SystemTime) {
        self.0.asked_again.store(nanoseconds(at), Relaxed);
    }

    /// When the datagram that asked for the work came again. Told once for each time.
    #[must_use]
    pub fn asked_again(&self) -> Option<SystemTime> {
        let at = match self.0.asked_again.load(Relaxed) {
            0 => return None,
            _ => self.0.asked_again.swap(0, Relaxed),
        };
        Some(UNIX_EPOCH + Duration::from_nanos(at))
    }

    /// Octets received and sent so far.
    pub(crate) fn octets(self) -> (u64, u64) {
        (self.0.received.load(Relaxed), self.0.sent.load(Relaxed))
    }

    /// True for the line of a prefork worker.
    pub(crate) fn is_workers(self) -> bool {
        self.0.is_workers.load(Relaxed)
    }

    /// What tells this request from another of the same peer.
    pub(crate) fn request(self) -> u64 {
        self.0.request.load(Relaxed)
    }

    /// The process begins with a client.
    pub(crate) fn serves(self, peer: Peer) {
        self.reset();
        self.is_of(peer);
    }

    fn is_of(self, peer: Peer) {
        let Peer::Ip(address) = peer else {
            return self.0.client.store(ON_THIS_MACHINE, Relaxed);
        };
        let ip = match address {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
            SocketAddr::V6(v6) => *v6.ip(),
        };
        let bits = u128::from(ip);
        self.0.address.iter().zip([(bits >> 64) as u64, bits as u64]).for_each(|(half, bits)| {
            half.store(bits, Relaxed);
        });
        let scope = if let SocketAddr::V6(v6) = address { v6.scope_id() } else { 0 };
        let port = u64::from(address.port());
        self.0.client.store(u64::from(scope) << 32 | ON_THE_NETWORK | port, Relaxed);
    }

    /// The process has ended with its client.
    pub(crate) fn serves_nobody(self) {
        self.0.client.store(0, Relaxed);
    }

    /// Whom the process serves.
    pub(crate) fn client(self) -> Option<Peer> {
        let client = self.0.client.load(Relaxed);
        let [high, low] =
            [0, 1].map(|i| self.0.address.get(i).map_or(0, |half| half.load(Relaxed)));
        match client & KIND {
            0 => None,
            ON_THE_NETWORK => {
                let (ip, port) = (Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)), client);
                let v6 = SocketAddrV6::new(ip, port as u16, 0, (client >> 32) as u32);
                Some(Peer::Ip(match ip.to_canonical() {
                    v4 @ IpAddr::V4(_) => SocketAddr::new(v4, port as u16),
                    IpAddr::V6(_) => SocketAddr::V6(v6),
                }))
            }
            _ => Some(Peer::Unix),
        }
    }

    fn reset(self) {
        self.0.received.store(0, Relaxed);
        self.0.sent.store(0, Relaxed);
        self.0.done.store(0, Relaxed);
        self.0.lingers.store(false, Relaxed);
        self.0.asked_again.store(0, Relaxed);
        self.serves_nobody();
    }

    /// For a process that has no parent to report to.
    pub(crate) fn unshared() -> Progress {
        Progress(Box::leak(Box::default()), 0)
    }
}

/// Since 1970.
fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What parent and prefork workers tell each other.
#[derive(Debug, Default)]
struct Header {
    stopping: AtomicBool,
    had_clients: AtomicBool,
    taken: AtomicU64,
}

// SAFETY: the fields are atomic, and zero means a server that runs.
unsafe impl Shared for Header {}

/// The head of the scoreboard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Board(&'static Header);

impl Board {
    pub(crate) fn new() -> Result<Board> {
        let header = shared::zeroed(1)?.first();
        header.map(Board).ok_or_else(|| Error::Refused("no shared memory".into()))
    }

    /// The server is shutting down: no worker accepts another client.
    pub(crate) fn stop(self) {
        self.0.stopping.store(true, Relaxed);
    }

    /// A worker has a client; true when that is news to the parent.
    pub(crate) fn has_client(self) -> bool {
        self.0.taken.fetch_add(1, Relaxed);
        !self.0.had_clients.load(Relaxed) && !self.0.had_clients.swap(true, SeqCst)
    }

    /// How many clients workers have taken.
    pub(crate) fn taken(self) -> u64 {
        self.0.taken.load(Relaxed)
    }

    /// True when a worker has had a client since this was last called with `forget`.
    pub(crate) fn had_clients(self, forget: bool) -> bool {
        if forget {
            self.0.had_clients.swap(false, SeqCst)
        } else {
            self.0.had_clients.load(Relaxed)
        }
    }

    pub(crate) fn is_stopping(self) -> bool {
        self.0.stopping.load(Relaxed)
    }
}

/// All slots, and whose process each is. Freed ones are used again, latest first, so that few pages
/// are ever touched; and they lie in shared memory with all that changes for each client, because
/// after a fork that is no page to copy.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    slots: &'static [Slot],
    /// The process of each slot; 0 for none.
    pids: &'static [AtomicI32],
    fresh: usize,
    /// The number of the first free slot below `fresh`, and one more; 0 for none.
    free: usize,
    epoch: Instant,
}

impl Scoreboard {
    /// Octets of shared memory that it takes.
    pub(crate) fn room(clients: usize) -> usize {
        shared::room_of::<Slot>(clients) + shared::room_of::<AtomicI32>(clients)
    }

    /// Shared memory for as many clients.
    pub(crate) fn new(clients: usize) -> Result<Scoreboard> {
        let (slots, pids) = (shared::zeroed(clients)?, shared::zeroed(clients)?);
        Ok(Scoreboard { slots, pids, fresh: 0, free: 0, epoch: Instant::now() })
    }

    /// How many of the first `lines` belong to prefork workers that have a client. A worker must not
    /// go by its own copy of `fresh`: that was made before the later ones of its like.
    pub(crate) fn busy(&self, lines: usize) -> usize {
        let slots = self.slots.iter().take(lines);
        slots.filter(|slot| Progress(slot, 0).client().is_some()).count()
    }

    /// True when every line is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.free == 0 && self.fresh == self.slots.len()
    }

    /// A zeroed line, or `None` when all are taken.
    pub(crate) fn take(&mut self) -> Option<Progress> {
        let number = if self.free > 0 { self.free - 1 } else { self.fresh };
        let slot = self.slots.get(number)?;
        if self.free > 0 {
            self.free = slot.next_free.load(Relaxed);
        } else {
            self.fresh += 1;
        }
        let progress = Progress(slot, number);
        progress.reset();
        Some(progress)
    }

    /// The process of a line was forked, for this client, or for one after the other.
    pub(crate) fn forked(&self, progress: Progress, pid: i32, peer: Option<Peer>, request: u64) {
        let Progress(slot, number) = progress;
        slot.since.store(self.now(), Relaxed);
        slot.request.store(request, Relaxed);
        slot.is_workers.store(peer.is_none(), Relaxed);
        if let Some(peer) = peer {
            progress.is_of(peer);
        }
        if let Some(place) = self.pids.get(number) {
            place.store(pid, Relaxed);
        }
    }

    /// A prefork worker begins with a client, whose time begins now.
    pub(crate) fn serves(&self, progress: Progress, peer: Peer) {
        progress.serves(peer);
        progress.0.since.store(self.now(), Relaxed);
    }

    /// The line of a process.
    pub(crate) fn of(&self, pid: i32) -> Option<Progress> {
        let number = self.pids.iter().take(self.fresh).position(|p| p.load(Relaxed) == pid)?;
        self.slots.get(number).map(|slot| Progress(slot, number))
    }

    /// All processes, and their lines.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (i32, Progress)> + use<> {
        let lines = self.pids.iter().zip(self.slots).take(self.fresh).enumerate();
        let each = |(n, (pid, slot)): (usize, (&'static AtomicI32, &'static Slot))| {
            (pid.load(Relaxed), Progress(slot, n))
        };
        lines.map(each).filter(|(pid, _)| *pid != 0)
    }

    /// Nanoseconds since the server's start.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long ago the process of a line was forked, or its worker's client came.
    pub(crate) fn age(&self, progress: Progress) -> Duration {
        let since = Duration::from_nanos(progress.0.since.load(Relaxed));
        self.epoch.elapsed().saturating_sub(since)
    }

    /// The client's process has ended, or was killed with a client whom nobody serves now.
    pub(crate) fn give_back(&mut self, progress: Progress) {
        let Progress(slot, number) = progress;
        progress.serves_nobody();
        if let Some(place) = self.pids.get(number) {
            place.store(0, Relaxed);
        }
        slot.next_free.store(self.free, Relaxed);
        self.free = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_zero_when_taken_again() {
        let mut board = Scoreboard::new(1).unwrap();
        let slot = board.take().unwrap();
        assert!(board.take().is_none());
        slot.received(5);
        slot.sent(6);
        let at = SystemTime::now();
        slot.done(at);
        slot.lingers();
        assert_eq!(slot.octets(), (5, 6));
        assert_eq!(slot.done_at(), Some(at));
        board.give_back(slot);
        let again = board.take().unwrap();
        assert!(board.is_full());
        assert_eq!(again.octets(), (0, 0));
        assert!(again.done_at().is_none() && !again.is_lingering());
    }

    #[test]
    fn a_worker_tells_whom_it_serves() {
        let slot = Scoreboard::new(1).unwrap().take().unwrap();
        assert_eq!(slot.client(), None);
        for text in ["127.0.0.1:0", "10.1.2.3:65535", "[2001:db8::7]:25", "[fe80::1%7]:25"] {
            let peer = Peer::Ip(text.parse().unwrap());
            slot.serves(peer);
            assert_eq!(slot.client(), Some(peer));
        }
        slot.serves(Peer::Unix);
        assert_eq!(slot.client(), Some(Peer::Unix));
        slot.serves_nobody();
        assert_eq!(slot.client(), None);
    }

    #[test]
    fn a_copy_made_before_the_others_counts_them_too() {
        let mut board = Scoreboard::new(3).unwrap();
        let mine = board.take().unwrap();
        let Scoreboard { slots, pids, epoch, fresh, free } = board;
        let early = Scoreboard { slots, pids, epoch, fresh, free };
        for line in [mine, board.take().unwrap(), board.take().unwrap()] {
            line.serves(Peer::Unix);
        }
        assert_eq!(early.busy(3), 3);
    }

    #[test]
    fn a_worker_that_was_killed_is_busy_no_more() {
        let mut board = Scoreboard::new(2).unwrap();
        let (killed, other) = (board.take().unwrap(), board.take().unwrap());
        killed.serves(Peer::Unix);
        other.serves(Peer::Unix);
        assert_eq!(board.busy(2), 2);
        board.give_back(killed);
        assert_eq!(board.busy(2), 1);
    }
}
