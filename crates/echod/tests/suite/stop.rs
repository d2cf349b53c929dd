//! SIGTERM, SIGHUP and SIGKILL to a server of each design.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{ECHOD, echod_as, hello, server_of, signal, talk, wait_refused};
use nix::sys::signal::Signal;
use testkit::{
    MODELS, Peer, TempDir, children, command, each_model, has_ended, repetitions, run, sockets_of,
    state, tasks, wait_until, within_once,
};

#[test]
fn case_09_after_sigkill_to_the_parent_sessions_finish_and_a_restart_binds_at_once() {
    each_model(&MODELS, |model| {
        let dir = TempDir::new();
        let pid_file = dir.path().join("echod.pid");
        let pid_file = ["-p", pid_file.to_str().unwrap()];
        let mut first = echod_as(model, &pid_file);
        let mut gone = talk(first.addr());
        gone.shutdown_write();
        assert!(gone.is_closed()); // our end is in TIME_WAIT, or the server's
        let mut peer = talk(first.addr());
        let (at, orphans) = (first.addr().to_string(), children(first.pid()));
        first.signal(Signal::SIGKILL);
        assert!(!first.wait().success());
        let second = echod_as(model, &["-l", &at, pid_file[0], pid_file[1]]);
        if orphans.is_empty() {
            assert!(peer.is_closed(), "{model}"); // the server was one process
        } else {
            hello(&mut peer);
        }
        drop(talk(second.addr()));
        drop(peer);
        wait_until("the orphans have ended", || orphans.iter().all(|pid| has_ended(*pid)));
        drop(talk(second.addr()));
    });
}

#[test]
fn case_15_a_second_instance_on_the_same_port_says_so_and_exits_1_under_any_model() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let at = daemon.addr().to_string();
        let second = run(command(ECHOD, &["-m", model, "-l", &at]), b"");
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(said, format!("echod: bind {at}: Address already in use\n"));
        assert_eq!(second.status.code(), Some(1));
        drop(talk(daemon.addr()));
    });
}

#[test]
fn case_16_sigterm_ends_an_idle_server_of_any_model_within_a_second() {
    each_model(&MODELS, |model| {
        for stop in [Signal::SIGTERM, Signal::SIGINT] {
            within_once(Duration::from_secs(1), || {
                let mut daemon = echod_as(model, &[]);
                drop(talk(daemon.addr()));
                let since = Instant::now();
                daemon.signal(stop);
                assert_eq!(daemon.wait().code(), Some(0), "{model}");
                since.elapsed()
            });
        }
    });
}

#[test]
fn case_16_sigterm_at_random_instants_under_load_always_ends_the_server() {
    let mut seed = Instant::now().elapsed().subsec_nanos() ^ std::process::id() ^ 0x5eed;
    println!("seed {seed}");
    each_model(&MODELS, |model| {
        for round in 0..repetitions(16) {
            let mut daemon = echod_as(model, &["--grace", "0.05"]);
            let (addr, over) = (daemon.addr(), Arc::new(AtomicBool::new(false)));
            let load = |_| {
                let over = Arc::clone(&over);
                thread::spawn(
                    move || {
                        while !over.load(Relaxed) && TcpStream::connect(addr).is_ok() {}
                    },
                )
            };
            let clients: Vec<_> = (0..4).map(load).collect();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            thread::sleep(Duration::from_micros(u64::from(seed >> 19))); // 0 to 8 ms: the instant
            daemon.signal(Signal::SIGTERM);
            let status = daemon.wait();
            over.store(true, Relaxed);
            clients.into_iter().for_each(|c| c.join().unwrap());
            assert_eq!(status.code(), Some(0), "{model}, round {round}: {}", daemon.log());
        }
    });
}

#[test]
fn case_17_sigterm_while_busy_stops_listening_at_once_and_lets_the_session_end() {
    each_model(&MODELS, |model| {
        within_once(Duration::from_secs(1), || {
            let mut daemon = echod_as(model, &["--grace", "3600"]);
            let mut peer = talk(daemon.addr());
            let since = Instant::now();
            daemon.signal(Signal::SIGTERM);
            wait_refused(daemon.addr());
            let took = since.elapsed();
            hello(&mut peer);
            hello(&mut peer);
            drop(peer);
            assert_eq!(daemon.wait().code(), Some(0), "{model}");
            took
        });
    });
}

#[test]
fn case_17_past_its_grace_no_child_is_left_behind_and_no_session() {
    each_model(&MODELS, |model| within_once(Duration::from_secs(5), || ended_by_its_grace(model)));
}

/// How long the end took.
fn ended_by_its_grace(model: &str) -> Duration {
    let mut daemon = echod_as(model, &["--grace", "0.2"]);
    let mut talking = talk(daemon.addr());
    let pids = children(daemon.pid());
    if !pids.is_empty() {
        let peer = talk(daemon.addr());
        let deaf = server_of(&daemon, &peer);
        signal(deaf, Signal::SIGSTOP); // SIGTERM has to wait
        wait_until("it has stopped", || state(deaf) == Some('T'));
    }
    let all = children(daemon.pid());
    let since = Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{model}");
    let took = since.elapsed();
    assert!(all.iter().all(|pid| state(*pid).is_none()), "{model}");
    assert!(talking.is_closed(), "{model}");
    took
}

#[test]
fn case_17_a_second_sigterm_does_not_wait_for_the_grace() {
    each_model(&MODELS, |model| {
        let mut daemon = echod_as(model, &["--grace", "3600"]);
        let mut talking = talk(daemon.addr());
        daemon.signal(Signal::SIGTERM);
        daemon.wait_log("stopping: 1 clients");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0), "{model}");
        assert!(talking.is_closed(), "{model}");
    });
}

#[test]
fn case_18_sighup_keeps_listener_processes_and_sessions() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        wait_until("it is alone", || sockets_of(daemon.pid()).len() == 1);
        let listener = sockets_of(daemon.pid());
        let mut peer = talk(daemon.addr());
        if model == "prefork" {
            wait_until("all workers are there", || children(daemon.pid()).len() == 8);
        }
        let before = (children(daemon.pid()), tasks(daemon.pid()));
        daemon.signal(Signal::SIGHUP);
        hello(&mut peer);
        assert_eq!((children(daemon.pid()), tasks(daemon.pid())), before, "{model}");
        assert!(listener.is_subset(&sockets_of(daemon.pid())), "{model}");
        let iterative = model == "iterative"; // it sees to it between two clients
        let mut peer: Option<Peer> = Some(peer).filter(|_| !iterative);
        daemon.wait_log("SIGHUP");
        drop(talk(daemon.addr()));
        peer.iter_mut().for_each(hello);
    });
}
