//! What every test of the daemon needs: a server, and a client that was served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use nix::unistd::Pid;
use testkit::{Daemon, Peer, children, title, wait_until};

pub const ECHOD: &str = env!("CARGO_BIN_EXE_echod");

pub fn echod(args: &[&str]) -> Daemon {
    Daemon::start(ECHOD, args)
}

/// A server of this design.
pub fn echod_as(model: &str, args: &[&str]) -> Daemon {
    echod(&[&["--model", model], args].concat())
}

/// A client that has received its echo, and so has a child of its own.
pub fn talk(addr: SocketAddr) -> Peer {
    let mut peer = Peer::connect(addr);
    hello(&mut peer);
    peer
}

/// A client that comes and says `hello` before a superserver has started the server, whose idle limit
/// may be short.
pub fn early(addr: SocketAddr) -> Peer {
    let mut peer = Peer::connect(addr);
    peer.send("hello\n");
    peer
}

/// A client that was served, if not at once, then as soon as there is a place.
pub fn served(addr: SocketAddr) -> Peer {
    let mut found = None;
    wait_until("a client is served", || {
        let mut peer = Peer::connect(addr);
        let is_served = peer.try_send("hello\n").is_ok() && peer.hears("hello\n");
        found = is_served.then_some(peer);
        found.is_some()
    });
    found.unwrap()
}

/// One more echo.
pub fn hello(peer: &mut Peer) {
    peer.send("hello\n");
    peer.expect("hello\n");
}

/// A client of another address of this machine than 127.0.0.1.
pub fn connect_from(source: Ipv4Addr, addr: SocketAddr) -> Peer {
    let SocketAddr::V4(to) = addr else { panic!("{addr} is not IPv4") };
    let kind = SockType::Stream;
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0))).unwrap();
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    Peer::new(TcpStream::from(fd))
}

/// The process that serves this client, alone or with others.
pub fn server_of(daemon: &Daemon, peer: &Peer) -> i32 {
    daemon.server_of(peer)
}

pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Waits until this number of workers say that they are idle: one that has just been forked is its parent's
/// copy still, with the parent's signals and descriptors.
pub fn wait_idle(daemon: &Daemon, count: usize) {
    wait_until(&format!("{count} workers are idle"), || {
        let workers = children(daemon.pid()).into_iter();
        workers.filter(|pid| title(*pid) == "echod: worker, idle").count() == count
    });
}

/// Waits until this number of sessions have ended, as the log has it.
pub fn wait_ends(daemon: &Daemon, count: usize) {
    wait_until(&format!("{count} sessions have ended"), || {
        daemon.log().matches(" end: ").count() >= count
    });
}

/// Waits until no process listens there any more. (/proc/net/tcp would tell too, but takes seconds where
/// there are thousands of connections in TIME_WAIT.)
pub fn wait_refused(addr: SocketAddr) {
    wait_until("nobody listens", || TcpStream::connect(addr).is_err());
}

/// A server and its children.
pub fn processes(daemon: &Daemon) -> Vec<i32> {
    [&[daemon.pid()], &children(daemon.pid())[..]].concat()
}

/// The cleanup helper of this file.
pub fn cleanup_helper(file: &Path) -> Option<i32> {
    let file = file.display().to_string();
    let all = std::fs::read_dir("/proc").unwrap();
    let mut pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let title = title(*pid);
        let files = title.strip_prefix("echod: caretaker of ").unwrap_or_default();
        files.split(", ").any(|shown| shown == file)
    })
}

/// Changes the limits of a running process, with the command of util-linux.
pub fn prlimit(pid: i32, limit: &str) {
    let mut command = Command::new("prlimit");
    assert!(command.arg(format!("--pid={pid}")).arg(limit).status().unwrap().success());
}
