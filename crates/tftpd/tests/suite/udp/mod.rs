//! A scripted UDP peer, and what the tests of tftpd and tftpc share.

use std::collections::BTreeSet;
use std::fs;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use testkit::{Daemon, TempDir, WATCHDOG};

/// Long enough for an answer that should not come to have come.
pub const MOMENT: Duration = Duration::from_millis(150);

pub const TFTPD: &str = env!("CARGO_BIN_EXE_tftpd");

/// Less than any clock here waits before it sends a packet again, but those that are asked for less.
const CLOCK: Duration = Duration::from_millis(140);

const TICK: Duration = Duration::from_millis(1);

pub fn rrq(name: &[u8], mode: &str) -> Vec<u8> {
    [b"\0\x01", name, b"\0", mode.as_bytes(), b"\0"].concat()
}

pub fn wrq(name: &[u8], mode: &str) -> Vec<u8> {
    [b"\0\x02", name, b"\0", mode.as_bytes(), b"\0"].concat()
}

pub fn data(block: u16, octets: &[u8]) -> Vec<u8> {
    [b"\0\x03", &block.to_be_bytes()[..], octets].concat()
}

pub fn ack(block: u16) -> Vec<u8> {
    [b"\0\x04", &block.to_be_bytes()[..]].concat()
}

pub fn error(code: u16, text: &str) -> Vec<u8> {
    [b"\0\x05", &code.to_be_bytes()[..], text.as_bytes(), b"\0"].concat()
}

/// The same request or an OACK with options, as `"blksize 8 tsize 0"`.
pub fn with(packet: &[u8], options: &str) -> Vec<u8> {
    let words = options.split_whitespace().flat_map(|word| [word.as_bytes(), b"\0"].concat());
    packet.iter().copied().chain(words).collect()
}

pub fn oack(options: &str) -> Vec<u8> {
    with(b"\0\x06", options)
}

/// One end of a conversation, played by a test.
pub struct Udp {
    pub socket: UdpSocket,
    /// Where [`Udp::send`] sends to: the sender of the last datagram.
    pub peer: SocketAddr,
    /// When the last datagram came, by the kernel's clock.
    pub came: Duration,
    /// The datagram itself.
    pub last: Vec<u8>,
}

/// Returns a socket whose port no other test of this program had: that one's server may still send to it.
fn bind_unused(ip: &str) -> UdpSocket {
    static USED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut others = Vec::new(); // held meanwhile, so that each is tried once
    loop {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        if USED.lock().unwrap().insert(port) || others.len() == 1000 {
            return socket;
        }
        others.push(socket);
    }
}

impl Udp {
    /// Will talk to `peer` first.
    pub fn new(peer: SocketAddr) -> Udp {
        let ip = if peer.is_ipv4() { "127.0.0.1" } else { "::1" };
        Udp::on(bind_unused(ip), peer)
    }

    /// The same on a socket that a test has made.
    pub fn on(socket: UdpSocket, peer: SocketAddr) -> Udp {
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
        Udp { socket, peer, came: Duration::ZERO, last: Vec::new() }
    }

    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn send(&self, packet: impl AsRef<[u8]>) {
        self.socket.send_to(packet.as_ref(), self.peer).unwrap();
    }

    /// The next datagram but the last one of the same sender once more by the clock, which runs on while a busy machine
    /// lets this test wait; its sender is the peer from now on.
    pub fn recv(&mut self) -> Vec<u8> {
        loop {
            let (last, came, peer) = (std::mem::take(&mut self.last), self.came, self.peer);
            let got = self.recv_all();
            if got != last || self.peer != peer || self.came.saturating_sub(came) < CLOCK {
                return got;
            }
        }
    }

    /// The next datagram.
    pub fn recv_all(&mut self) -> Vec<u8> {
        self.recv_for(WATCHDOG).expect("watchdog: no datagram came")
    }

    /// The next datagram, if one comes in time.
    pub fn recv_for(&mut self, time: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let (mut buffer, mut control) = ([0; 65536], cmsg_space!(TimeSpec));
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let fd = self.socket.as_raw_fd();
        let received =
            recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::empty());
        let message = match received {
            Err(Errno::EAGAIN) => return None,
            Err(Errno::EINTR) => return self.recv_for(time),
            received => received.unwrap(),
        };
        let stamps = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
            _ => None,
        });
        self.came = stamps.unwrap_or_default();
        let (address, length) = (message.address.unwrap(), message.bytes);
        let v4 = address.as_sockaddr_in().map(|at| SocketAddr::V4((*at).into()));
        let v6 = address.as_sockaddr_in6().map(|at| SocketAddr::V6((*at).into()));
        self.peer = v4.or(v6).unwrap();
        self.last = buffer[..length].to_vec();
        Some(self.last.clone())
    }

    /// Asks with options, expects this OACK, and gets the whole file in windows.
    pub fn get_with(
        &mut self,
        request: &[u8],
        expected: &str,
        blksize: usize,
        window: u16,
    ) -> Vec<u8> {
        self.send(request);
        self.expect(oack(expected));
        self.send(ack(0));
        let (mut file, mut last) = (Vec::new(), 0u16);
        loop {
            let packet = self.recv();
            if packet[..4] != data(last.wrapping_add(1), b"")[..] {
                assert!(packet[1] == 3 || packet[1] == 6, "{}", show(&packet));
                continue; // sent again
            }
            last = last.wrapping_add(1);
            file.extend_from_slice(&packet[4..]);
            let ends = packet.len() < 4 + blksize;
            if ends || last.is_multiple_of(window) {
                self.send(ack(last));
            }
            if ends {
                return file;
            }
        }
    }

    /// Asks with options, expects this OACK, and sends the whole file in windows.
    pub fn put_with(
        &mut self,
        request: &[u8],
        expected: &str,
        file: &[u8],
        blksize: usize,
        window: usize,
    ) {
        self.send(request);
        self.expect(oack(expected));
        let (mut last, mut answered) = (0u16, oack(expected));
        let blocks: Vec<_> = blocks_of(blksize, file).collect();
        for window in blocks.chunks(window) {
            for octets in window {
                last = last.wrapping_add(1);
                self.send(data(last, octets));
            }
            self.expect_after(&answered, ack(last));
            answered = ack(last);
        }
    }

    /// The next datagram is this one, or the last one once more by the clock and then this one.
    #[track_caller]
    pub fn expect(&mut self, packet: impl AsRef<[u8]>) {
        let is_again = self.last == packet.as_ref();
        let got = if is_again { self.recv_all() } else { self.recv() };
        assert_eq!(show(&got), show(packet.as_ref()));
    }

    /// The next datagram is this one or an `older` one that was sent again.
    #[track_caller]
    pub fn expect_after(&mut self, older: &[u8], packet: impl AsRef<[u8]>) {
        let mut got = self.recv();
        while got == older {
            got = self.recv();
        }
        assert_eq!(show(&got), show(packet.as_ref()));
    }

    /// The next datagram is an ERROR with this code; gives its text.
    #[track_caller]
    pub fn expect_error(&mut self, code: u8) -> String {
        let got = self.recv();
        assert_eq!(show(&got[..4]), show(&[0, 5, 0, code]), "{}", show(&got));
        assert_eq!(got.last(), Some(&0), "the text ends with NUL");
        String::from_utf8(got[4..got.len() - 1].to_vec()).unwrap()
    }

    /// No datagram comes within a moment, but for the last one by the clock.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        let (last, came) = (self.last.clone(), self.came);
        let got = self.recv_for(MOMENT);
        let is_by_clock = self.last == last && self.came.saturating_sub(came) >= CLOCK;
        assert!(got.is_none() || is_by_clock, "{:?}", got.as_deref().map(show));
    }

    /// No datagram comes within a moment but this one, sent again by the clock.
    #[track_caller]
    pub fn expect_only(&mut self, older: &[u8]) {
        let until = Instant::now() + MOMENT;
        while let Some(got) =
            self.recv_for(until.saturating_duration_since(Instant::now()).max(TICK))
        {
            assert_eq!(show(&got), show(older));
            if Instant::now() > until {
                return;
            }
        }
    }

    /// Asks, and gets the whole file as an honest client would.
    pub fn get(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        let (mut file, mut block) = (Vec::new(), 1u16);
        loop {
            let packet = self.recv();
            if packet[..4] != data(block, b"")[..] {
                assert_eq!(packet[..4], data(block.wrapping_sub(1), b"")[..], "{}", show(&packet));
                continue;
            }
            file.extend_from_slice(&packet[4..]);
            self.send(ack(block));
            if packet.len() < 516 {
                return file;
            }
            block = block.wrapping_add(1);
        }
    }

    /// Asks, and sends the whole file as an honest client would; up to the last ACK.
    pub fn put(&mut self, request: &[u8], file: &[u8]) {
        self.send(request);
        self.expect(ack(0));
        self.put_blocks(file);
    }

    /// The blocks of a file, from DATA 1 on.
    pub fn put_blocks(&mut self, file: &[u8]) {
        let mut block = 0u16;
        for octets in blocks(file) {
            block = block.wrapping_add(1);
            self.send(data(block, octets));
            self.expect_after(&ack(block.wrapping_sub(1)), ack(block));
        }
    }
}

/// A file's blocks; the last one is short.
pub fn blocks(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    blocks_of(512, file)
}

/// The same with another size.
pub fn blocks_of(size: usize, file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let empty = file.len().is_multiple_of(size).then_some(&b""[..]);
    file.chunks(size).chain(empty)
}

fn show(packet: &[u8]) -> String {
    let head = &packet[..packet.len().min(40)];
    format!("{} ({} octets)", head.escape_ascii(), packet.len())
}

/// Most tests run twice: with a process for each transfer, and, as parts of `single_port.rs`, with one
/// process and one port for all of them.
pub fn is_single() -> bool {
    module_path!().contains("::single_port::")
}

/// A daemon with a root of its own.
pub struct Served {
    pub daemon: Daemon,
    pub dir: TempDir,
}

impl Served {
    pub fn with(args: &[&str]) -> Served {
        Served::spawn(Command::new(TFTPD), args)
    }

    /// The same with its files in memory, where a hole of a file costs nothing to read.
    pub fn in_memory(args: &[&str]) -> Served {
        Served::in_folder(TempDir::in_memory(), Command::new(TFTPD), args)
    }

    /// The same by a command that the test has prepared.
    pub fn spawn(command: Command, args: &[&str]) -> Served {
        Served::in_folder(TempDir::new(), command, args)
    }

    fn in_folder(dir: TempDir, command: Command, args: &[&str]) -> Served {
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let single: &[&str] = if is_single() { &["--single-port"] } else { &[] };
        let args = [&["--root", root.to_str().unwrap()], single, args].concat();
        let daemon = Daemon::spawn(command, &args);
        Served { daemon, dir }
    }

    /// One that takes uploads.
    pub fn writable() -> Served {
        Served::with(&["--create", "--overwrite"])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    pub fn write(&self, name: &str, octets: impl AsRef<[u8]>) {
        fs::write(self.path(name), octets).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The names in the root.
    pub fn names(&self) -> Vec<String> {
        testkit::names(&self.path(""))
    }

    /// A new peer that will ask the daemon.
    pub fn peer(&self) -> Udp {
        Udp::new(self.daemon.addr())
    }

    /// The code of the ERROR that answers a request.
    #[track_caller]
    pub fn refusal(&self, request: impl AsRef<[u8]>) -> u8 {
        let mut peer = self.peer();
        peer.send(request);
        let answer = peer.recv();
        assert_eq!(answer[..3], [0, 5, 0], "{}", show(&answer));
        answer[3]
    }

    /// Waits until no transfer is going on.
    pub fn wait_idle(&self) {
        if is_single() {
            let at = self.daemon.addr();
            testkit::wait_title(
                self.daemon.pid(),
                &format!("tftpd: parent, 0 of 4096 clients, {at}"),
            );
        }
        testkit::wait_until("all transfers have ended", || {
            testkit::children(self.daemon.pid()).is_empty()
        });
    }

    /// There was one transfer so far and no more.
    #[track_caller]
    pub fn assert_one_transfer(&self) {
        let log = self.daemon.log();
        if is_single() {
            assert!(log.matches(" octets, ").count() <= 1, "{log}");
        } else {
            assert_eq!(log.matches(" start").count(), 1, "{log}");
        }
    }

    /// The log's line of the transfer with this result.
    pub fn wait_line(&self, request: &str, result: &str) -> String {
        let mut found = None;
        testkit::wait_until(&format!("'{request}' ends '{result}'"), || {
            let log = self.daemon.log();
            let line = log.lines().find(|l| l.contains(request) && l.contains(result));
            found = line.map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }
}

/// Octets that look random and are always the same.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut octets = Vec::with_capacity(length + 4);
    while octets.len() < length {
        octets.extend_from_slice(&random.next().to_le_bytes());
    }
    octets.truncate(length);
    octets
}

/// A small generator of pseudo-random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// What the log's line says: `N retransmissions`.
pub fn retransmissions(line: &str) -> usize {
    let (before, _) = line.split_once(" retransmissions").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// How long something took.
pub fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (what(), start.elapsed())
}
