//! Start, signals, end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{ECHOD, echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Daemon, TempDir, children, command, descriptors, file_of_descriptor, names, run, sockets_in,
    state, wait_child, wait_until,
};

/// Runs echod where it must end by itself.
fn ends(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = run(command(ECHOD, args), b"");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn an_occupied_port_is_named_and_ends_with_1() {
    let daemon = echod(&[]);
    let at = daemon.addr().to_string();
    let (code, said) = ends(&["-l", &at]);
    assert_eq!(code, Some(1));
    assert_eq!(said, format!("echod: bind {at}: Address already in use\n"));
}

#[test]
fn bad_usage_ends_with_2_and_names_the_option() {
    let (code, said) = ends(&["--frob"]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("echod: --frob: no such option\n"), "{said}");
    let (code, said) = ends(&["--reap", "maybe"]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("echod: --reap 'maybe': "), "{said}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (option, text) in [("--help", "--max-clients"), ("-V", "echod (forklore) ")] {
        let mut command = Command::new(ECHOD);
        command.arg(option);
        let output = run(command, b"");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(text));
    }
}

#[test]
fn sigterm_ends_an_idle_server_within_a_second() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = echod(&[]);
        let since = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0));
        assert!(since.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn case_17_sigterm_while_busy_stops_listening_at_once_and_lets_the_session_end() {
    let mut daemon = echod(&[]);
    let mut peer = talk(daemon.addr());
    daemon.signal(Signal::SIGTERM);
    wait_until("nobody listens", || sockets_in("0A", daemon.addr().port()) == 0);
    peer.send("still here\n");
    peer.expect("still here\n");
    drop(peer);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn case_17_past_its_grace_no_child_is_left_behind() {
    let mut daemon = echod(&["--grace", "0.2"]);
    let (_talking, mut stopped) = (talk(daemon.addr()), talk(daemon.addr()));
    let pids = children(daemon.pid());
    kill(Pid::from_raw(pids[1]), Signal::SIGSTOP).unwrap(); // deaf to SIGTERM
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(pids.iter().all(|pid| state(*pid).is_none()));
    assert!(stopped.is_closed());
}

#[test]
fn a_second_sigterm_does_not_wait_for_the_grace() {
    let mut daemon = echod(&["--grace", "3600"]);
    let _talking = talk(daemon.addr());
    daemon.signal(Signal::SIGTERM);
    daemon.wait_log("stopping: 1 clients");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn sigterm_at_two_hundred_random_instants_under_load_always_ends_the_server() {
    let mut seed = Instant::now().elapsed().subsec_nanos() ^ std::process::id() ^ 0x5eed;
    println!("seed {seed}");
    for round in 0..200 {
        let mut daemon = echod(&["--grace", "0.05"]);
        let (addr, over) = (daemon.addr(), Arc::new(AtomicBool::new(false)));
        let load = |_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Relaxed) && std::net::TcpStream::connect(addr).is_ok() {}
            })
        };
        let clients: Vec<_> = (0..4).map(load).collect();
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        thread::sleep(Duration::from_micros(u64::from(seed >> 17))); // 0 to 32 ms: the random instant
        daemon.signal(Signal::SIGTERM);
        let status = daemon.wait();
        over.store(true, Relaxed);
        clients.into_iter().for_each(|c| c.join().unwrap());
        assert_eq!(status.code(), Some(0), "round {round}");
    }
}

/// A transcript that is a pipe without a reader holds the start up for as long as the test likes.
#[test]
fn sigterm_during_the_start_waits_and_then_ends_the_server_in_order() {
    let dir = TempDir::new();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let args = ["-l", "127.0.0.1:0", "--transcript", pipe.to_str().unwrap()];
    let mut child = command(ECHOD, &args).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id() as i32;
    wait_until("SIGTERM is blocked", || signal_mask(pid, "SigBlk:") & 1 << 14 != 0);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let mut reader = OpenOptions::new();
    let reader = reader.read(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe).unwrap();
    assert_eq!(wait_child(&mut child, "the server ends").code(), Some(0));
    drop(reader);
}

/// Before the program has come to blocking SIGTERM, it kills: then nothing may have begun yet. Later
/// it waits, and ends the server in order.
#[test]
fn sigterm_at_any_instant_of_the_start_leaves_nothing_behind() {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (pid_file, socket) = (path("pid"), format!("unix:{}", path("sock")));
    let args = ["-p", &pid_file, "-l", &socket, "-l", "127.0.0.1:0"];
    let as_nobody = [&args[..], &["-u", "nobody"]].concat();
    for round in 0..200_u64 {
        let with_caretaker = geteuid().is_root() && round % 2 == 0;
        let args = if with_caretaker { &as_nobody[..] } else { &args };
        let mut child = command(ECHOD, args).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_micros(round * 20)); // the instant
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        let status = wait_child(&mut child, "the server ends");
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let in_order = status.code() == Some(0) && said.ends_with("stopped\n");
        let before_all = status.signal() == Some(Signal::SIGTERM as i32) && said.is_empty();
        assert!(in_order || before_all, "round {round}: {status} {said}");
        assert_eq!(names(dir.path()), [""; 0], "round {round}: {status} {said}");
    }
}

/// A mask of signals as /proc/PID/status shows it; signal N is bit N-1.
fn signal_mask(pid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}

#[test]
fn case_18_sighup_keeps_listener_and_sessions() {
    let daemon = echod(&[]);
    let mut peer = talk(daemon.addr());
    let listener = |d: &Daemon| (3..10).find_map(|fd| socket_of(d.pid(), fd)).unwrap();
    let before = listener(&daemon);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("SIGHUP");
    assert_eq!(listener(&daemon), before);
    peer.send("still here\n");
    peer.expect("still here\n");
    drop(talk(daemon.addr()));
}

fn socket_of(pid: i32, fd: i32) -> Option<String> {
    let name = file_of_descriptor(pid, fd)?.to_str()?.to_owned();
    name.starts_with("socket:").then_some(name)
}

#[test]
fn sigusr1_logs_the_table_of_clients() {
    let daemon = echod(&[]);
    let _peer = talk(daemon.addr());
    wait_until("the client stands in the table with its octets", || {
        daemon.signal(Signal::SIGUSR1);
        daemon.log().contains("6 in, 6 out")
    });
    assert!(daemon.log().contains("1 of 256 clients"));
}

#[test]
fn a_killed_parent_leaves_its_sessions_alone_and_a_restart_binds_at_once() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("echod.pid");
    let args = ["-p", pid_file.to_str().unwrap()];
    let mut first = echod(&args);
    let mut peer = talk(first.addr());
    let orphans = children(first.pid());
    drop(talk(first.addr())); // one connection in TIME_WAIT
    let at = first.addr().to_string();
    first.signal(Signal::SIGKILL);
    assert!(!first.wait().success());
    let second = echod(&["-l", &at, args[0], args[1]]);
    drop(talk(second.addr()));
    peer.send("still here\n");
    peer.expect("still here\n");
    drop(peer);
    wait_until("the orphan has ended", || orphans.iter().all(|p| !matches!(state(*p), Some('S'))));
}

#[test]
fn a_child_has_no_handler_one_task_and_nothing_of_the_parents() {
    let dir = TempDir::new();
    let pid_file = dir.path().join("echod.pid");
    let daemon = echod(&["-p", pid_file.to_str().unwrap()]);
    let before = descriptors(daemon.pid());
    let _first = talk(daemon.addr());
    let _second = talk(daemon.addr());
    for child in children(daemon.pid()) {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!((signal_mask(child, "SigBlk:"), signal_mask(child, "SigCgt:")), (0, 0));
        let ignored = u64::from_str_radix(&field("SigIgn:"), 16).unwrap();
        // A log without a reader is an error of write, no death.
        assert_ne!(ignored & 1 << (Signal::SIGPIPE as u32 - 1), 0);
        assert_eq!(field("Threads:"), "1");
        let sockets = (0..64).filter(|fd| socket_of(child, *fd).is_some()).count();
        assert_eq!(sockets, 1, "its own client's, and no other");
        assert!((0..64).all(|fd| file_of_descriptor(child, fd) != Some(pid_file.clone())));
    }
    // A quick child may have answered before the parent has closed its copy.
    wait_until("the parent holds no client's socket", || descriptors(daemon.pid()) == before);
}
