//! Zombies: none under waitpid, some under wait, all of them without a reaper.

use std::thread;

use crate::common::{echod, talk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, Peer, children, descriptors, sockets_in, state, wait_until, zombies};

/// Slide "Client Terminates All Five Connections": all at once, when each has its child.
fn come_and_go(daemon: &Daemon, clients: usize) {
    let before = children(daemon.pid()).len();
    let peers: Vec<Peer> = (0..clients)
        .map(|i| {
            let mut peer = Peer::connect(daemon.addr());
            peer.send(format!("client {i}\n"));
            peer.expect("client");
            peer
        })
        .collect();
    assert_eq!(children(daemon.pid()).len(), before + clients);
    drop(peers);
}

#[test]
fn case_14_a_thousand_clients_at_concurrency_64_leave_no_zombie_no_descriptor_no_close_wait() {
    // Children that have not ended yet count too.
    let daemon = echod(&["-c", "1000", "--max-per-ip", "1000"]);
    drop(talk(daemon.addr()));
    wait_until("the first client is reaped", || children(daemon.pid()).is_empty());
    let before = descriptors(daemon.pid());
    let addr = daemon.addr();
    let share = |n: usize| 1000 / 64 + usize::from(n < 1000 % 64);
    let workers: Vec<_> = (0..64)
        .map(|n| thread::spawn(move || (0..share(n)).for_each(|_| drop(talk(addr)))))
        .collect();
    workers.into_iter().for_each(|w| w.join().unwrap());
    wait_until("all are reaped", || children(daemon.pid()).is_empty());
    come_and_go(&daemon, 5);
    wait_until("all five are reaped", || children(daemon.pid()).is_empty());
    assert_eq!(descriptors(daemon.pid()), before);
    assert_eq!(sockets_in("08", addr.port()), 0);
    let logged = |what| daemon.log().matches(what).count();
    wait_until("every end is logged", || logged(" end: pid ") == 1006);
    assert_eq!(logged(" start: pid "), 1006);
}

#[test]
fn case_01_two_hundred_children_killed_together_leave_no_zombie() {
    let daemon = echod(&["--max-per-ip", "200"]);
    let peers: Vec<Peer> = (0..200)
        .map(|_| {
            let mut peer = Peer::connect(daemon.addr());
            peer.send("x");
            peer.take(1);
            peer
        })
        .collect();
    for child in children(daemon.pid()) {
        kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    }
    wait_until("all are reaped", || children(daemon.pid()).is_empty());
    wait_until("all are logged", || daemon.log().matches("signal 9 (SIGKILL)").count() == 200);
    drop(peers);
}

#[test]
fn without_a_reaper_every_client_leaves_a_zombie() {
    let daemon = echod(&["--reap", "none"]);
    come_and_go(&daemon, 5);
    wait_until("five zombies", || zombies(daemon.pid()).len() == 5);
    come_and_go(&daemon, 20);
    wait_until("25 zombies", || zombies(daemon.pid()).len() == 25);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn zombies_do_not_use_up_the_limit_of_clients() {
    let daemon = echod(&["--reap", "none", "-c", "5"]);
    for clients in [5, 10, 15] {
        come_and_go(&daemon, 5);
        wait_until("all have ended", || zombies(daemon.pid()).len() == clients);
    }
}

/// Slide "wait and waitpid Functions": signals are not queued, so of five children that end
/// together `wait` in the handler meets some, and not all.
#[test]
fn wait_in_the_handler_leaves_fewer_zombies_than_clients_but_some() {
    for _ in 0..5 {
        let daemon = echod(&["--reap", "wait"]);
        come_and_go(&daemon, 5);
        wait_until("all have ended, and some were reaped", || {
            let left = zombies(daemon.pid()).len();
            left < 5 && left == children(daemon.pid()).len()
        });
        assert!(!zombies(daemon.pid()).is_empty());
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

/// SIGCHLD comes for a child that was only stopped, too; a handler that blocks in wait would then
/// keep SIGTERM out until some child ends.
#[test]
fn under_wait_a_stopped_child_does_not_keep_the_server_from_its_clients_and_its_end() {
    let daemon = echod(&["--reap", "wait", "--grace", "0"]);
    let _stopped = talk(daemon.addr());
    let child = children(daemon.pid())[0];
    kill(Pid::from_raw(child), Signal::SIGSTOP).unwrap();
    wait_until("the child has stopped", || state(child) == Some('T'));
    drop(talk(daemon.addr()));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(state(child).is_none());
}
