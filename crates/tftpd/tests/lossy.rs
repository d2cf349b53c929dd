//! tftpc and tftpd over a network that loses, doubles, delays and reorders packets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod udp;

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use udp::{Random, Served, noise};

/// What the network does to packets: so many of 100.
#[derive(Clone, Copy)]
struct Weather {
    lost: u32,
    doubled: u32,
    /// Kept back until the next packet of the same way has passed.
    late: u32,
}

/// A network between the client and the daemon. It gives each port of the daemon's a port of its
/// own, so that the client sees the transfer's port change as it would without the relay.
struct Relay {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(service: SocketAddr, weather: Weather, seed: u64) -> Relay {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_nonblocking(true).unwrap();
        let addr = front.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let mut network = Network {
            service,
            fronts: vec![(front, service)],
            back: UdpSocket::bind("127.0.0.1:0").unwrap(),
            client: None,
            weather,
            random: Random(seed),
            late: HashMap::new(),
        };
        network.back.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                if !network.pass() {
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        Relay { addr, stop, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _panicked = self.thread.take().unwrap().join();
    }
}

struct Network {
    service: SocketAddr,
    /// What the client talks to, and the port of the daemon's that it stands for.
    fronts: Vec<(UdpSocket, SocketAddr)>,
    /// What the daemon talks to: it stands for the client.
    back: UdpSocket,
    client: Option<SocketAddr>,
    weather: Weather,
    random: Random,
    late: HashMap<bool, (usize, Vec<u8>)>,
}

impl Network {
    /// Takes what has come; false when there was nothing.
    fn pass(&mut self) -> bool {
        let mut buffer = [0; 2048];
        let mut came = Vec::new();
        for (index, (front, _)) in self.fronts.iter().enumerate() {
            if let Ok((length, from)) = front.recv_from(&mut buffer) {
                self.client = Some(from);
                came.push((true, index, buffer[..length].to_vec()));
            }
        }
        if let Ok((length, from)) = self.back.recv_from(&mut buffer) {
            let index = self.front_for(from);
            came.push((false, index, buffer[..length].to_vec()));
        }
        let any = !came.is_empty();
        for (to_server, index, packet) in came {
            self.weather(to_server, index, packet);
        }
        any
    }

    fn front_for(&mut self, port: SocketAddr) -> usize {
        assert_ne!(port, self.service);
        if let Some(index) = self.fronts.iter().position(|(_, stands_for)| *stands_for == port) {
            return index;
        }
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_nonblocking(true).unwrap();
        self.fronts.push((front, port));
        self.fronts.len() - 1
    }

    fn weather(&mut self, to_server: bool, index: usize, packet: Vec<u8>) {
        let Weather { lost, doubled, late } = self.weather;
        if self.random.percent(lost) {
            return;
        }
        if self.random.percent(late) && !self.late.contains_key(&to_server) {
            self.late.insert(to_server, (index, packet));
            return;
        }
        self.deliver(to_server, index, &packet);
        if self.random.percent(doubled) {
            self.deliver(to_server, index, &packet);
        }
        if let Some((index, packet)) = self.late.remove(&to_server) {
            self.deliver(to_server, index, &packet);
        }
    }

    fn deliver(&self, to_server: bool, index: usize, packet: &[u8]) {
        let (front, stands_for) = &self.fronts[index];
        let sent = match self.client {
            Some(client) if !to_server => front.send_to(packet, client),
            _ => self.back.send_to(packet, stands_for),
        };
        drop(sent); // a closed port is a lost packet
    }
}

fn tftpc(served: &Served, relay: &Relay, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
    command.args(["--retries", "20", "-t", "60"]);
    command.arg(relay.addr.to_string()).args(args).current_dir(served.dir.path());
    let output = testkit::run(command, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}\n{}", served.daemon.log());
}

/// A file there and back through the weather, in one mode.
fn there_and_back(weather: Weather, mode: &str, seed: u64) {
    let served = Served::with(&["--create", "--retries", "20"]);
    let file = noise(20_000, seed);
    fs::write(served.dir.path().join("f"), &file).unwrap();
    let relay = Relay::start(served.daemon.addr(), weather, seed);
    tftpc(&served, &relay, &["-m", mode, "put", "f", "up"]);
    assert_eq!(served.read("up"), file);
    drop(relay);
    let relay = Relay::start(served.daemon.addr(), weather, seed + 1);
    tftpc(&served, &relay, &["-m", mode, "get", "up", "back"]);
    assert_eq!(fs::read(served.dir.path().join("back")).unwrap(), file);
}

const CALM: Weather = Weather { lost: 0, doubled: 0, late: 0 };

#[test]
fn files_come_whole_through_a_network_that_loses_packets() {
    there_and_back(Weather { lost: 10, ..CALM }, "octet", 11);
}

#[test]
fn files_come_whole_through_a_network_that_doubles_packets() {
    there_and_back(Weather { doubled: 50, ..CALM }, "octet", 22);
}

#[test]
fn files_come_whole_through_a_network_that_reorders_packets() {
    there_and_back(Weather { doubled: 20, late: 10, ..CALM }, "octet", 33);
}

#[test]
fn text_comes_whole_through_a_network_that_does_it_all() {
    there_and_back(Weather { lost: 5, doubled: 10, late: 5 }, "netascii", 44);
}
