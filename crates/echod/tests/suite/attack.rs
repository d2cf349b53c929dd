//! A process that talks to a client is taken over: what it can do to its parent, to other clients and to
//! strangers. The tests do with its memory and its descriptors what an intruder in it could do.

mod descriptors;
mod garbage;
mod private;
mod stopped;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use crate::common::{ECHOD, served};
use testkit::{Daemon, children, start_as_nobody, title, wait_until};

/// Those whose sessions run in processes of their own.
const FORKING: [&str; 2] = ["fork", "prefork"];

/// As root, one that has become an ordinary user.
fn server(args: &[&str]) -> Daemon {
    start_as_nobody(ECHOD, args)
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

/// Clients that come one after the other, until they are stopped.
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
