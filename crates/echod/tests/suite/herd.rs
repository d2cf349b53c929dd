//! The preforked server's workers: who wakes, who is replaced, who ends.

use crate::common::{echod_as, hello, server_of, signal, talk, wait_ends, wait_refused};
use nix::sys::signal::Signal;
use testkit::{
    Daemon, children, has_ended, sockets_of, state, status_field, title, wait_until, zombies,
};

const WORKERS: usize = 16;

fn server() -> Daemon {
    let daemon = echod_as("prefork", &["-n", &WORKERS.to_string()]);
    all_idle(&daemon);
    daemon
}

fn all_idle(daemon: &Daemon) {
    wait_until("all workers wait", || {
        let workers = children(daemon.pid());
        let waits = |pid: &i32| state(*pid) == Some('S') && title(*pid) == "echod: worker, idle";
        workers.len() == WORKERS && workers.iter().all(waits)
    });
}

/// How often each worker has gone to sleep of its own accord.
fn sleeps(daemon: &Daemon) -> Vec<u64> {
    let of = |pid: i32| status_field(pid, "voluntary_ctxt_switches:").parse().unwrap();
    children(daemon.pid()).into_iter().map(of).collect()
}

/// A thundering herd would be 16 workers awake for each client: 1,600 sleeps and more.
#[test]
fn case_29_one_connection_wakes_one_worker() {
    let daemon = server();
    let (begin, mut woken) = (sleeps(&daemon), Vec::new());
    for served in 1..=100 {
        let before = sleeps(&daemon);
        drop(talk(daemon.addr()));
        wait_ends(&daemon, served);
        all_idle(&daemon);
        let after = sleeps(&daemon);
        woken.push(before.iter().zip(&after).filter(|(b, a)| a > b).count());
    }
    let total: u64 = sleeps(&daemon).iter().sum::<u64>() - begin.iter().sum::<u64>();
    println!("{total} sleeps for 100 clients; workers woken by each: {woken:?}");
    assert!(total <= 600, "{total} sleeps for 100 clients");
    // One that has slept once more for the client before may be counted with the next.
    assert!(woken.iter().sum::<usize>() <= 120, "{woken:?}");
    assert!(woken.iter().all(|woken| (1..=3).contains(woken)), "{woken:?}");
}

#[test]
fn case_29_a_killed_worker_is_replaced_whether_busy_or_idle() {
    let daemon = server();
    let mut peer = talk(daemon.addr());
    let busy = server_of(&daemon, &peer);
    let idle = children(daemon.pid()).into_iter().find(|pid| *pid != busy).unwrap();
    for pid in [busy, idle] {
        signal(pid, Signal::SIGKILL);
        wait_until("it is reaped", || state(pid).is_none());
        all_idle_or_busy(&daemon);
    }
    assert!(peer.is_closed());
    let peers: Vec<_> = (0..WORKERS).map(|_| talk(daemon.addr())).collect();
    assert!(zombies(daemon.pid()).is_empty());
    drop(peers);
}

fn all_idle_or_busy(daemon: &Daemon) {
    wait_until("there are as many as before", || children(daemon.pid()).len() == WORKERS);
}

#[test]
fn case_29_sigterm_drains_all_workers() {
    let mut daemon = server();
    let mut peers: Vec<_> = (0..3).map(|_| talk(daemon.addr())).collect();
    daemon.signal(Signal::SIGTERM);
    wait_until("the idle workers have ended", || children(daemon.pid()).len() == 3);
    wait_refused(daemon.addr());
    peers.iter_mut().for_each(hello);
    drop(peers);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn case_29_after_sigkill_to_the_parent_idle_workers_end_and_busy_ones_only_finish() {
    let mut daemon = server();
    let mut peers: Vec<_> = (0..3).map(|_| talk(daemon.addr())).collect();
    let busy: Vec<i32> = peers.iter().map(|peer| server_of(&daemon, peer)).collect();
    let all = children(daemon.pid());
    daemon.signal(Signal::SIGKILL);
    assert!(!daemon.wait().success());
    let lives = |pid: &i32| !has_ended(*pid);
    wait_until("the idle ones have ended", || all.iter().filter(|pid| lives(pid)).count() == 3);
    wait_refused(daemon.addr());
    peers.iter_mut().for_each(hello);
    assert!(busy.iter().all(|pid| sockets_of(*pid).len() <= 2));
    drop(peers);
    wait_until("the busy ones have ended", || !busy.iter().any(lives));
}
