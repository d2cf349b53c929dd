//! Out of descriptors, out of processes, a stopped parent, a log that nobody reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{ECHOD, echod, talk};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{Daemon, Peer, cpu_ticks, wait_child, wait_until};

/// The number that the next descriptor of a process would get.
fn next_descriptor(pid: i32) -> i32 {
    (0..).find(|fd| testkit::file_of_descriptor(pid, *fd).is_none()).unwrap()
}

/// A child holds just its own client's socket, so only the parent can run out: its limit is set so
/// low that accept has no number to give.
#[test]
fn case_12_out_of_descriptors_the_server_answers_rests_and_comes_back() {
    let daemon = echod(&[]);
    let limit = |n: i32| prlimit(daemon.pid(), &format!("--nofile={n}:"));
    limit(next_descriptor(daemon.pid()));
    let mut turned_away = Peer::connect(daemon.addr());
    assert_eq!(turned_away.rest(), b""); // an end of file, not a reset, not silence
    daemon.wait_log("accept: Too many open files");
    limit(3); // now not even the reserve helps: the connection waits in the backlog
    let (waiting, since, ticks) =
        (TcpStream::connect(daemon.addr()).unwrap(), Instant::now(), cpu_ticks(daemon.pid()));
    wait_until("a second is over", || since.elapsed() > Duration::from_secs(1));
    let spent = cpu_ticks(daemon.pid()) - ticks;
    assert!(spent <= 5, "{spent} % of a CPU while out of descriptors");
    assert_eq!(daemon.log().matches("Too many open files").count(), 1, "{}", daemon.log());
    limit(1024);
    let mut served = Peer::new(waiting);
    served.send("hello\n");
    served.expect("hello\n");
    daemon.wait_log("accept: works again");
}

/// Changes the soft limit of a running process, with the command of util-linux.
fn prlimit(pid: i32, limit: &str) {
    let mut command = Command::new("prlimit");
    assert!(command.arg(format!("--pid={pid}")).arg(limit).status().unwrap().success());
}

/// Without a process left for the server's user, fork fails with EAGAIN. Root is above that limit.
#[test]
fn case_13_when_fork_fails_the_client_gets_an_end_of_file_and_nothing_leaks() {
    let mut limited = Command::new("prlimit");
    limited.args(["--nproc=0:", ECHOD]);
    let user: &[&str] = if geteuid().is_root() { &["-u", "nobody"] } else { &[] };
    let daemon = Daemon::spawn(limited, user);
    let before = testkit::descriptors(daemon.pid());
    for _ in 0..100 {
        let mut peer = Peer::connect(daemon.addr());
        peer.send("anybody there?\n");
        assert_eq!(peer.rest(), b""); // an end of file, not a reset
    }
    daemon.wait_log("fork: Resource temporarily unavailable");
    wait_until("the last one is closed", || testkit::descriptors(daemon.pid()) == before);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// The port from the log's line, which is all that is ever read of the log.
fn with_unread_log(args: &[&str]) -> (Child, SocketAddr, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut command = Command::new(ECHOD);
    command.args(["-l", "127.0.0.1:0"]).args(args).stderr(writer);
    let child = command.spawn().unwrap();
    drop(command);
    let mut log = BufReader::with_capacity(1, reader);
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server ended");
    }
    let addr = line.trim_end().split_once("listening on ").unwrap().1.parse().unwrap();
    (child, addr, log.into_inner())
}

#[test]
fn a_log_that_nobody_reads_stops_neither_the_server_nor_its_end() {
    for has_reader in [true, false] {
        let (mut echod, addr, reader) = with_unread_log(&["-t", "0.2"]);
        let _full = has_reader.then_some(reader);
        let mut silent: Vec<_> = (0..3).map(|_| Peer::connect(addr)).collect();
        for _ in 0..60 {
            talk(addr);
        }
        assert!(silent.iter_mut().all(|peer| peer.rest().is_empty()));
        kill(Pid::from_raw(echod.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(wait_child(&mut echod, "the server ends").code(), Some(0));
    }
}
