//! The relay at work: one thread, one epoll, a heap of what is on its way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::counts::Shared;
use super::flow::{self, Flow, Place};
use super::script::{Fate, Passing, Way};

/// The longest datagram there is.
const BUFFER: usize = 65_536;
/// Room for a window of large blocks; the kernel gives what it allows.
const SOCKET_BUFFER: usize = 8 << 20;
/// How many datagrams of one socket are taken before another has its turn.
const TURN: usize = 64;
/// How often the relay looks whether it is to end, in milliseconds.
const TICK: u16 = 20;
/// Time without a packet after which a client is forgotten, longer than any peer's retransmission
/// timeout.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// Descriptors for some thousands of clients.
const DESCRIPTORS: u64 = 16_384;
/// Where a relay's ports begin.
const LOWEST_PORT: u16 = 10_000;
/// What a closed port makes of a datagram.
const CLOSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;
/// Numbers the relays of this process.
static RELAYS: AtomicU32 = AtomicU32::new(0);
/// Where the service's front stands among the sockets; the others follow.
const SERVICE: Place = 0;
/// The clock's number among what epoll tells of.
const CLOCK: u64 = u64::MAX;

pub(super) type Script = Box<dyn FnMut(&Passing<'_>) -> Fate + Send>;

/// What a socket stands for.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The service's port, for all clients.
    Service,
    /// A port of the server's, for one client.
    Front { client: SocketAddr, port: SocketAddr },
    /// A client.
    Back { client: SocketAddr },
}

/// A copy of a datagram that has yet to arrive.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    due: Instant,
    /// Those that are due together arrive in the order in which they came.
    serial: usize,
    from: Place,
    to: SocketAddr,
    bytes: Arc<[u8]>,
}

pub(super) struct Network {
    service: SocketAddr,
    /// Of fronts and backs.
    addresses: [Ipv4Addr; 2],
    script: Script,
    shared: Arc<Shared>,
    epoll: Epoll,
    clock: TimerFd,
    /// When the clock will ring.
    alarm: Option<Instant>,
    sockets: HashMap<Place, (UdpSocket, End)>,
    flows: HashMap<SocketAddr, Flow>,
    travelling: BinaryHeap<Reverse<Copy>>,
    /// Numbers sockets and copies.
    serial: usize,
    /// The one that was taken last.
    port: u16,
}

impl Network {
    pub(super) fn new(service: SocketAddr, script: Script, shared: Arc<Shared>) -> Network {
        raise_descriptors();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let clock = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC).unwrap();
        // EPOLLET, so that an expiry is reported once, though the clock is never read.
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&clock, EpollEvent::new(once, CLOCK)).unwrap();
        let (sockets, flows) = (HashMap::new(), HashMap::new());
        let travelling = BinaryHeap::new();
        let alarm = None;
        let mut network = Network {
            service,
            addresses: addresses(),
            script,
            shared,
            epoll,
            clock,
            alarm,
            sockets,
            flows,
            travelling,
            serial: SERVICE,
            port: LOWEST_PORT,
        };
        network.open(End::Service).expect("a socket for the relay");
        network
    }

    /// What clients talk to.
    pub(super) fn addr(&self) -> SocketAddr {
        self.sockets[&SERVICE].0.local_addr().unwrap()
    }

    pub(super) fn run(&mut self) {
        let mut buffer = vec![0; BUFFER];
        let mut events = [EpollEvent::empty(); 64];
        let mut swept = Instant::now();
        while !self.shared.stop.load(Relaxed) {
            let ready = self.epoll.wait(&mut events, TICK).unwrap_or_default();
            for event in &events[..ready] {
                // A new request closes the ways of the transfer before it; so it has to be first.
                self.receive(SERVICE, &mut buffer);
                match event.data() {
                    CLOCK => self.alarm = None,
                    place => self.receive(place as Place, &mut buffer),
                }
            }
            self.arrive();
            if swept.elapsed() > FORGOTTEN / 4 {
                swept = Instant::now();
                self.forget();
            }
        }
    }

    fn open(&mut self, end: End) -> io::Result<Place> {
        let address: IpAddr = match (self.service, end) {
            (SocketAddr::V6(_), _) => Ipv6Addr::LOCALHOST.into(),
            (SocketAddr::V4(_), End::Service | End::Front { .. }) => self.addresses[0].into(),
            (SocketAddr::V4(_), End::Back { .. }) => self.addresses[1].into(),
        };
        let socket = self.bind(address)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER)?;
        setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER)?;
        if let End::Front { client, .. } = end {
            socket.connect(client)?; // reports when the client has closed
        }
        let place = self.serial;
        self.serial += 1;
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
        self.sockets.insert(place, (socket, end));
        Ok(place)
    }

    /// Takes the port that was unused for the longest time, because late packets to a closed port
    /// could otherwise reach another transfer.
    fn bind(&mut self, address: IpAddr) -> io::Result<UdpSocket> {
        loop {
            self.port = self.port.checked_add(1).unwrap_or(LOWEST_PORT);
            match UdpSocket::bind((address, self.port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => (),
                bound => return bound,
            }
        }
    }

    /// Takes what has come to one socket.
    fn receive(&mut self, place: Place, buffer: &mut [u8]) {
        for _ in 0..TURN {
            let Some((socket, end)) = self.sockets.get(&place) else { return };
            let end = *end;
            match socket.recv_from(buffer) {
                Ok((length, from)) => self.pass(end, from, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.heed_closed_port(end),
            }
        }
    }

    fn pass(&mut self, end: End, from: SocketAddr, bytes: &[u8]) {
        match end {
            End::Service => {
                // A service with a single port gets everything here.
                let back = match self.flows.get(&from).filter(|_| !flow::is_request(bytes)) {
                    Some(flow) => Ok(flow.back),
                    None => self.request(from, bytes),
                };
                if let Ok(back) = back {
                    self.travel(Way::ToServer, from, back, self.service, bytes);
                }
            }
            End::Front { client, port } => {
                if let Some(flow) = self.flows.get(&client).filter(|_| from == client) {
                    let back = flow.back;
                    self.travel(Way::ToServer, client, back, port, bytes);
                }
            }
            End::Back { client } => {
                if let Ok(front) = self.front(client, from) {
                    self.travel(Way::ToClient, client, front, client, bytes);
                }
            }
        }
    }

    /// The back of this client. A request other than the last one begins another transfer, and the
    /// ports of the last transfer lead nowhere from now on: a client's port may have become another
    /// program's, whose business the rest of that transfer is not.
    fn request(&mut self, client: SocketAddr, request: &[u8]) -> io::Result<Place> {
        let transfer = flow::number(request);
        match self.flows.get(&client).filter(|flow| flow.transfer == transfer) {
            Some(flow) => Ok(flow.back),
            None => {
                let back = self.open(End::Back { client })?;
                let before = self.flows.insert(client, Flow::new(transfer, back));
                before
                    .iter()
                    .flat_map(Flow::places)
                    .for_each(|place| drop(self.sockets.remove(&place)));
                Ok(back)
            }
        }
    }

    /// What stands for a port of the server's before this client. The service's own port has the
    /// front that all clients talk to.
    fn front(&mut self, client: SocketAddr, port: SocketAddr) -> io::Result<Place> {
        let flow = self.flows.get(&client).ok_or(io::ErrorKind::NotFound)?;
        if port == self.service {
            return Ok(SERVICE);
        }
        if let Some(place) = flow.fronts.get(&port) {
            return Ok(*place);
        }
        let place = self.open(End::Front { client, port })?;
        if let Some(flow) = self.flows.get_mut(&client) {
            flow.fronts.insert(port, place);
        }
        Ok(place)
    }

    /// Asks the script, and sends the copies that it lets pass on their way.
    fn travel(&mut self, way: Way, client: SocketAddr, from: Place, to: SocketAddr, bytes: &[u8]) {
        let Some(flow) = self.flows.get_mut(&client) else { return };
        let (transfer, number) = flow.count(way);
        let Fate(copies) = (self.script)(&Passing { way, transfer, number, bytes });
        let count = |what: &AtomicU64, so_many| what.fetch_add(so_many, Relaxed);
        count(&self.shared.came, 1);
        count(&self.shared.lost, u64::from(copies.is_empty()));
        count(&self.shared.doubled, u64::from(copies.len() > 1));
        for delay in copies {
            if delay.is_zero() {
                self.send(from, to, bytes);
                continue;
            }
            count(&self.shared.late, 1);
            self.serial += 1;
            let (due, serial, bytes) = (Instant::now() + delay, self.serial, bytes.into());
            self.travelling.push(Reverse(Copy { due, serial, from, to, bytes }));
        }
    }

    /// Delivers the copies that have been on their way for long enough, and sets the clock for the
    /// next one.
    fn arrive(&mut self) {
        while let Some(Reverse(next)) = self.travelling.peek() {
            let left = next.due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                if self.alarm != Some(next.due) {
                    self.alarm = Some(next.due);
                    let when = Expiration::OneShot(TimeSpec::from(left));
                    self.clock.set(when, TimerSetTimeFlags::empty()).unwrap();
                }
                return;
            }
            if let Some(Reverse(Copy { from, to, bytes, .. })) = self.travelling.pop() {
                self.send(from, to, &bytes);
            }
        }
    }

    fn send(&mut self, from: Place, to: SocketAddr, bytes: &[u8]) {
        let Some((socket, end)) = self.sockets.get(&from) else { return };
        match *end {
            end @ End::Front { .. } => {
                // The error is an earlier datagram's.
                if socket.send(bytes).is_err_and(|error| error.kind() == CLOSED) {
                    self.heed_closed_port(end);
                }
            }
            _ => drop(socket.send_to(bytes, to)), // lost, if there is no room
        }
    }

    /// A client that is gone has no way any more: what the server still sends meets a closed port,
    /// as it would without the relay. What the client has sent before goes its way: the kernel reports the closed port first.
    fn heed_closed_port(&mut self, end: End) {
        let End::Front { client, port } = end else { return };
        let front = self.flows.get(&client).and_then(|flow| flow.fronts.get(&port).copied());
        let mut buffer = vec![0; 1 << 16];
        while let Some((socket, _)) = front.and_then(|front| self.sockets.get(&front))
            && let Ok((length, from)) = socket.recv_from(&mut buffer)
        {
            self.pass(end, from, &buffer[..length]);
        }
        if let Some(flow) = self.flows.remove(&client) {
            flow.places().for_each(|place| drop(self.sockets.remove(&place)));
        }
    }

    /// Closes the sockets of clients that have been silent for long.
    fn forget(&mut self) {
        let silent = |flow: &mut Flow| flow.heard.elapsed() > FORGOTTEN;
        for (_, flow) in self.flows.extract_if(|_, flow| silent(flow)) {
            flow.places().for_each(|place| drop(self.sockets.remove(&place)));
        }
    }
}

/// Addresses of the relay's own on the loopback interface: a port that is closed may soon be another
/// program's, and packets that still go there must come from where that program expects none.
fn addresses() -> [Ipv4Addr; 2] {
    let (process, relay) = (std::process::id(), RELAYS.fetch_add(1, Relaxed));
    let [_, _, high, low] = process.wrapping_mul(16).wrapping_add(relay).to_be_bytes();
    [1, 2].map(|end| Ipv4Addr::new(127, high.clamp(1, 250), low, end))
}

/// Each client takes two descriptors.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _fewer_clients_then =
            setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(DESCRIPTORS)), hard);
    }
}
