//! The processes and threads of each server design: what they hold, and which ends with which.

use std::time::{Duration, Instant};

use crate::common::{echod_as, hello, served, server_of, signal, talk, wait_ends, wait_idle};
use nix::sys::signal::Signal;
use testkit::{
    CONCURRENT, Daemon, MODELS, Peer, TempDir, children, descriptors, each_model,
    file_of_descriptor, signal_mask, sockets_of, state, tasks, wait_until, zombies,
};

/// Those whose sessions run in processes of their own.
const FORKING: [&str; 2] = ["fork", "prefork"];

fn wait_workers(daemon: &Daemon, count: usize) {
    wait_until(&format!("there are {count} workers"), || {
        children(daemon.pid()).len() == count && zombies(daemon.pid()).is_empty()
    });
}

/// Slide "Client Terminates All Five Connections".
#[test]
fn case_01_five_clients_that_close_at_once_leave_no_zombie_under_any_model() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        for round in 1..=5 {
            let mut peers: Vec<Peer> = (0..5).map(|_| Peer::connect(daemon.addr())).collect();
            peers.iter_mut().for_each(|peer| peer.send("hello\n"));
            let served = if model == "iterative" { 1 } else { 5 };
            peers.iter_mut().take(served).for_each(|peer| drop(peer.expect("hello\n")));
            drop(peers);
            wait_ends(&daemon, 5 * round);
        }
        wait_until("no zombie is left", || zombies(daemon.pid()).is_empty());
    });
}

#[test]
fn case_01_workers_killed_all_at_once_leave_no_zombie_and_are_replaced() {
    let daemon = echod_as("prefork", &["-n", "50"]);
    wait_workers(&daemon, 50);
    for _ in 0..4 {
        let before = children(daemon.pid());
        before.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
        wait_until("all of them are gone", || before.iter().all(|pid| state(*pid).is_none()));
        wait_workers(&daemon, 50);
        drop(talk(daemon.addr()));
    }
}

#[test]
fn case_02_a_child_that_dies_of_a_signal_is_logged_with_its_name_and_the_parent_lives() {
    each_model(&FORKING, |model| {
        let daemon = echod_as(model, &[]);
        let mut peer = talk(daemon.addr());
        signal(server_of(&daemon, &peer), Signal::SIGSEGV);
        assert!(peer.is_closed());
        daemon.wait_log("signal 11 (SIGSEGV)");
        drop(talk(daemon.addr()));
    });
}

#[test]
fn case_03_nobody_holds_a_socket_of_others_and_the_parent_no_clients() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        drop(talk(daemon.addr()));
        wait_ends(&daemon, 1);
        let parent = daemon.pid();
        if model == "prefork" {
            wait_idle(&daemon, 8);
        }
        wait_until("nobody is served", || sockets_of(parent).len() == 1);
        let (listener, before) = (sockets_of(parent), descriptors(parent));
        let clients = if model == "iterative" { 1 } else { 5 };
        let peers: Vec<Peer> = (0..clients).map(|_| talk(daemon.addr())).collect();
        let held: Vec<_> = peers.iter().map(|peer| sockets_of(server_of(&daemon, peer))).collect();
        let of_a_child = match model {
            "fork" => 1,    // its client's
            "prefork" => 2, // the listener too, which is its own to accept from
            _ => 1 + clients,
        };
        assert!(held.iter().all(|sockets| sockets.len() == of_a_child), "{model}: {held:?}");
        if model == "fork" {
            assert!(held.iter().all(|sockets| sockets.is_disjoint(&listener)), "{held:?}");
        }
        if !matches!(model, "thread" | "iterative") {
            wait_until("the parent holds no client's socket", || sockets_of(parent) == listener);
            assert_eq!(descriptors(parent), before, "{model}");
        }
        drop(peers);
        wait_until("nobody is served any more", || descriptors(parent) == before);
        assert_eq!(sockets_of(parent), listener, "{model}");
    });
}

#[test]
fn case_04_a_stopped_child_does_not_stop_other_clients() {
    each_model(&FORKING, |model| {
        let daemon = echod_as(model, &[]);
        let mut stopped = talk(daemon.addr());
        let child = server_of(&daemon, &stopped);
        signal(child, Signal::SIGSTOP);
        wait_until("it has stopped", || state(child) == Some('T'));
        (0..20).for_each(|_| drop(talk(daemon.addr())));
        stopped.send("later\n");
        signal(child, Signal::SIGCONT);
        stopped.expect("later\n");
    });
}

#[test]
fn case_04_idle_workers_that_are_stopped_take_no_client_along() {
    let daemon = echod_as("prefork", &["-n", "4"]);
    wait_workers(&daemon, 4);
    let first_three: Vec<i32> = children(daemon.pid()).into_iter().take(3).collect();
    for pid in first_three {
        signal(pid, Signal::SIGSTOP);
        wait_until("it has stopped", || state(pid) == Some('T'));
    }
    (0..20).for_each(|_| drop(talk(daemon.addr())));
}

#[test]
fn case_04_a_stopped_parent_lets_its_children_go_on_and_its_queue_wait() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let mut served = talk(daemon.addr());
        if model == "prefork" {
            wait_workers(&daemon, 8);
        }
        daemon.signal(Signal::SIGSTOP);
        wait_until("the parent has stopped", || state(daemon.pid()) == Some('T'));
        if FORKING.contains(&model) {
            hello(&mut served);
        }
        if model == "prefork" {
            drop(talk(daemon.addr())); // its workers accept by themselves
        }
        let mut waiting = Peer::connect(daemon.addr());
        waiting.send("in the backlog\n");
        daemon.signal(Signal::SIGCONT);
        hello(&mut served);
        drop(served);
        waiting.expect("in the backlog\n");
    });
}

#[test]
fn case_05_a_child_has_default_dispositions_an_empty_mask_and_nothing_of_the_parents() {
    each_model(&FORKING, |model| {
        let dir = TempDir::new();
        let pid_file = dir.path().join("echod.pid");
        let daemon = echod_as(model, &["-p", pid_file.to_str().unwrap()]);
        let peers = [talk(daemon.addr()), talk(daemon.addr())];
        // A child that has answered is set up; a worker is once it says that it is idle.
        let served: Vec<i32> = peers.iter().map(|peer| server_of(&daemon, peer)).collect();
        if model == "prefork" {
            wait_idle(&daemon, 8 - peers.len());
        }
        let children = children(daemon.pid());
        assert!(served.iter().all(|child| children.contains(child)), "{children:?}: {served:?}");
        for child in children {
            assert_eq!((signal_mask(child, "SigBlk:"), signal_mask(child, "SigCgt:")), (0, 0));
            // A log without a reader is an error of write, no death.
            let pipe = 1 << (Signal::SIGPIPE as u32 - 1);
            assert_ne!(signal_mask(child, "SigIgn:") & pipe, 0);
            assert!((0..64).all(|fd| file_of_descriptor(child, fd) != Some(pid_file.clone())));
        }
    });
}

#[test]
fn case_05_sigterm_to_a_child_ends_only_it() {
    each_model(&FORKING, |model| {
        let daemon = echod_as(model, &[]);
        let (mut one, mut other) = (talk(daemon.addr()), talk(daemon.addr()));
        signal(server_of(&daemon, &one), Signal::SIGTERM);
        assert!(one.is_closed());
        daemon.wait_log("signal 15 (SIGTERM)");
        hello(&mut other);
        drop(talk(daemon.addr()));
        assert!(!daemon.log().contains("stop"), "{}", daemon.log());
    });
}

#[test]
fn case_07_whoever_forks_has_one_task_and_a_thread_a_client_has_the_thread_model_alone() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let clients = if model == "iterative" { 1 } else { 3 };
        let peers: Vec<Peer> = (0..clients).map(|_| talk(daemon.addr())).collect();
        let threads = if model == "thread" { clients } else { 0 };
        assert_eq!(tasks(daemon.pid()), 1 + threads, "{model}");
        assert!(children(daemon.pid()).into_iter().all(|child| tasks(child) == 1), "{model}");
        drop(peers);
        wait_until("the threads have ended", || tasks(daemon.pid()) == 1);
    });
}

#[test]
fn case_08_a_killed_childs_client_sees_the_end_and_its_place_is_free_again() {
    each_model(&FORKING, |model| {
        let daemon = echod_as(model, &["-n", "1", "-c", "1"]);
        for _ in 0..5 {
            let mut peer = served(daemon.addr());
            signal(server_of(&daemon, &peer), Signal::SIGKILL);
            assert!(peer.is_closed());
        }
        drop(served(daemon.addr()));
        daemon.wait_log("signal 9 (SIGKILL)");
    });
}

#[test]
fn case_08_a_client_that_resets_leaves_its_place_free_under_any_model() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["-n", "1", "-c", "1"]);
        for round in 1..=5 {
            served(daemon.addr()).reset();
            wait_ends(&daemon, round);
        }
        drop(served(daemon.addr()));
        assert!(CONCURRENT.contains(&model) || children(daemon.pid()).is_empty());
    });
}

/// Whether it can be had is the kernel's choice, and the log tells.
#[test]
fn case_08_the_end_of_a_killed_worker_tells_how_long_its_client_was_there() {
    let daemon = echod_as("prefork", &["-n", "1"]);
    let begin = Instant::now();
    wait_until("the worker is a second old", || begin.elapsed() > Duration::from_secs(1));
    let came = Instant::now();
    let _client = talk(daemon.addr());
    let worker = children(daemon.pid())[0];
    signal(worker, Signal::SIGKILL);
    daemon.wait_log("signal 9 (SIGKILL)");
    let was_there = came.elapsed().as_secs_f64();
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("signal 9")).unwrap();
    let seconds = line.rsplit_once(", ").unwrap().1.trim_end_matches(" s");
    // Without the second that the worker was idle before.
    assert!(seconds.parse::<f64>().unwrap() < was_there + 0.1, "{line}, not {was_there}");
}
