//! The process of a transfer is taken over: what it shares with its parent may hold anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod udp;

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Bystander, Daemon, Garbage, NOBODY, TempDir, can_take_over, children, fill_shared_pages,
    has_ended, wait_until, zombies,
};
use udp::{Served, Udp, ack, data, rrq};

/// Transfers at once, at most.
const CLIENTS: usize = 4;

/// A server in a process group of its own.
fn server(args: &[&str]) -> Served {
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    let root = dir.path().join("root");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tftpd"));
    command.process_group(0);
    let daemon = Daemon::spawn(command, &[&["--root", root.to_str().unwrap()], args].concat());
    Served { daemon, dir }
}

/// A transfer that waits for its first ACK, and the process that makes it.
fn transfer(served: &Served) -> (Udp, i32) {
    let before = children(served.daemon.pid());
    let mut peer = served.peer();
    peer.send(rrq(b"x", "octet"));
    peer.expect(data(1, &[b'a'; 512]));
    let mut new = None;
    wait_until("the transfer has a process", || {
        new = children(served.daemon.pid()).into_iter().find(|pid| !before.contains(pid));
        new.is_some()
    });
    (peer, new.unwrap())
}

fn finish(mut peer: Udp) {
    peer.send(ack(1));
    peer.expect(data(2, b"bb"));
    peer.send(ack(2));
}

#[test]
fn shared_pages_full_of_garbage_harm_no_other_transfer_and_no_other_process() {
    let (user, limit) = (NOBODY.to_string(), CLIENTS.to_string());
    let user = if geteuid().is_root() { &["-u", &user][..] } else { &[] };
    let args = ["-c", &limit, "--max-per-ip", &limit, "--rate", "1000000/1"];
    let served = server(&[&args, user].concat());
    if !can_take_over(served.daemon.pid()) {
        return;
    }
    served.write("x", [&[b'a'; 512][..], b"bb"].concat());
    let parent = served.daemon.pid();
    let bystanders = [Bystander::start(parent), Bystander::start(0)];
    for garbage in Garbage::kinds() {
        let ((other, its), (attacker, taken_over)) = (transfer(&served), transfer(&served));
        assert!(fill_shared_pages(taken_over, garbage) > 0, "{garbage:?}: nothing is shared");
        let (third, its_too) = transfer(&served);
        served.daemon.signal(Signal::SIGUSR1);
        finish(third);
        finish(attacker);
        assert!(![its, its_too].contains(&taken_over));
        assert!(!has_ended(its), "{garbage:?}: another's process was ended");
        finish(other);
        served.wait_idle();
        bystanders.iter().for_each(Bystander::check);
    }
    // One that dies with garbage in its pages gives its place back as any other.
    for garbage in Garbage::kinds() {
        let (_peer, taken_over) = transfer(&served);
        fill_shared_pages(taken_over, garbage);
        kill(Pid::from_raw(taken_over), Signal::SIGKILL).unwrap();
        served.daemon.wait_log(&format!("pid {taken_over}, signal 9"));
    }
    let all: Vec<_> = (0..CLIENTS).map(|_| transfer(&served)).collect();
    assert_eq!(served.refusal(rrq(b"x", "octet")), 0, "one more than the limit");
    all.into_iter().for_each(|(peer, _)| finish(peer));
    served.wait_idle();
    wait_until("no zombie is left", || zombies(parent).is_empty());
    bystanders.iter().for_each(Bystander::check);
    assert!(!served.daemon.log().contains("panicked"));
    assert_eq!(served.daemon.stop().code(), Some(0));
    bystanders.iter().for_each(Bystander::check);
}
