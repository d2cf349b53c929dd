//! tftpc against a scripted server.

use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

use testkit::TempDir;

use crate::udp::Udp;

/// tftpc at work in a folder of its own.
pub struct Client {
    output: JoinHandle<Output>,
}

impl Client {
    /// Starts `tftpc HOST:PORT ARGS`.
    pub fn start(server: &Udp, dir: &TempDir, args: &[&str]) -> Client {
        Client::fed(server, dir, args, b"")
    }

    pub fn fed(server: &Udp, dir: &TempDir, args: &[&str], stdin: &[u8]) -> Client {
        forget_unread(server); // what a client before this one has asked again, on a slow machine
        let mut command = Command::new(env!("CARGO_BIN_EXE_tftpc"));
        command.arg(server.addr().to_string()).args(args).current_dir(dir.path());
        let stdin = stdin.to_vec();
        Client { output: thread::spawn(move || testkit::run(command, &stdin)) }
    }

    pub fn end(self) -> (Option<i32>, String, Vec<u8>) {
        let output = self.output.join().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said, output.stdout)
    }

    /// It ends well and says nothing.
    #[track_caller]
    pub fn succeeds(self) -> Vec<u8> {
        let (code, said, stdout) = self.end();
        assert_eq!((code, &said[..]), (Some(0), ""));
        stdout
    }

    /// It ends with 1 and one line that holds all of `words`.
    #[track_caller]
    pub fn fails(self, words: &[&str]) {
        let (code, said, _) = self.end();
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for word in ["tftpc: ", "127.0.0.1:"].iter().chain(words) {
            assert!(said.contains(word), "no '{word}' in {said}");
        }
    }
}

/// A server that waits to be talked to.
pub fn waiting() -> Udp {
    Udp::new("127.0.0.1:0".parse().unwrap())
}

/// Drops what has arrived and was not read.
fn forget_unread(server: &Udp) {
    server.socket.set_nonblocking(true).unwrap();
    while server.socket.recv(&mut [0; 1]).is_ok() {}
    server.socket.set_nonblocking(false).unwrap();
}

pub fn start() -> (Udp, TempDir) {
    (waiting(), TempDir::new())
}

/// A server's transfer port, different from the one that was asked.
pub fn port_for(server: &Udp) -> Udp {
    Udp::new(server.peer)
}
