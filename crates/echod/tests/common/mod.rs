//! What every test of the daemon needs: a server, and a client that was served.
#![allow(dead_code)] // no test file uses all of it

use std::net::SocketAddr;

use testkit::{Daemon, Peer};

pub const ECHOD: &str = env!("CARGO_BIN_EXE_echod");

pub fn echod(args: &[&str]) -> Daemon {
    Daemon::start(ECHOD, args)
}

/// A client that has heard its echo, and so has a child of its own.
pub fn talk(addr: SocketAddr) -> Peer {
    let mut peer = Peer::connect(addr);
    peer.send("hello\n");
    peer.expect("hello\n");
    peer
}
