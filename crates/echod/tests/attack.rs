//! A process that talks to a client is taken over: what it can do to its parent, to other clients and to
//! strangers. The tests do with its memory and its descriptors what an intruder in it could do.
//!
//! As root they run the server as an ordinary user, as it should be run: one that signalled whatever
//! number a child has written would otherwise take the machine along.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

#[path = "attack/descriptors.rs"]
mod descriptors;
#[path = "attack/garbage.rs"]
mod garbage;
#[path = "attack/private.rs"]
mod private;
#[path = "attack/stopped.rs"]
mod stopped;
#[path = "attack/worker.rs"]
mod worker;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use common::{ECHOD, served};
use nix::unistd::geteuid;
use testkit::{Daemon, NOBODY, children, title, wait_until};

/// Those whose sessions run in processes of their own.
const FORKING: [&str; 2] = ["fork", "prefork"];

/// A server in a process group of its own; as root, one that has become an ordinary user.
fn server(args: &[&str]) -> Daemon {
    let mut command = Command::new(ECHOD);
    command.process_group(0);
    let nobody = NOBODY.to_string();
    let user = if geteuid().is_root() { &["-u", &nobody][..] } else { &[] };
    Daemon::spawn(command, &[args, user].concat())
}

/// A server of a design, with a process or thread for datagrams too.
fn server_as(model: &str, args: &[&str]) -> Daemon {
    server(&[&["-m", model, "--udp"], args].concat())
}

/// The children of a server whose titles begin so, behind the program's name.
fn children_titled(daemon: &Daemon, text: &str) -> Vec<i32> {
    let begins = |pid: &i32| title(*pid).starts_with(&format!("echod: {text}"));
    children(daemon.pid()).into_iter().filter(begins).collect()
}

/// The process that answers datagrams.
fn datagram_helper(daemon: &Daemon) -> i32 {
    let mut found = None;
    wait_until("there is a process for datagrams", || {
        found = children_titled(daemon, "datagrams, ").first().copied();
        found.is_some()
    });
    found.unwrap()
}

/// Clients that come one after the other, until they are told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Traffic {
    fn start(addr: SocketAddr) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for count in 1.. {
                drop(served(addr));
                if is_over.load(SeqCst) {
                    return count;
                }
            }
            0
        });
        Traffic { stop, thread }
    }

    /// How many were served; each was.
    fn stop(self) -> usize {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap()
    }
}
