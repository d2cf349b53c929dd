//! Aborted connections, too few descriptors and processes, and the limits of clients: what each
//! server design makes of them.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    ECHOD, connect_from, echod_as, hello, prlimit, served, signal, talk, wait_ends, wait_idle,
};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use testkit::{
    CONCURRENT, Daemon, MODELS, Peer, children, cpu_ticks, descriptors, descriptors_at_rest,
    each_model, file_of_descriptor, sockets_in, sockets_of, state, wait_until, zombies,
};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The server's process, and those of its workers.
fn processes(daemon: &Daemon) -> Vec<i32> {
    [vec![daemon.pid()], children(daemon.pid())].concat()
}

#[test]
fn case_10_after_a_reset_before_accept_the_next_client_is_served() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["-n", "2"]);
        drop(talk(daemon.addr()));
        wait_ends(&daemon, 1);
        if model == "prefork" {
            wait_idle(&daemon, 2);
        }
        let all = processes(&daemon);
        for pid in &all {
            signal(*pid, Signal::SIGSTOP);
            wait_until("it has stopped", || matches!(state(*pid), None | Some('T')));
        }
        (0..5).for_each(|_| Peer::connect(daemon.addr()).reset());
        let mut waiting = Peer::connect(daemon.addr());
        waiting.send("in the backlog\n");
        Peer::connect(daemon.addr()).reset();
        all.iter().for_each(|pid| signal(*pid, Signal::SIGCONT));
        waiting.expect("in the backlog\n");
        drop(waiting);
        drop(talk(daemon.addr()));
    });
}

/// The process that accepts gets so low a limit that accept has no number to give; then so low a one that not
/// even the descriptor in reserve helps, and the connection waits in the backlog.
#[test]
fn case_12_out_of_descriptors_a_client_is_answered_the_cpu_rests_and_service_comes_back() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["-n", "2", "-c", "9"]);
        drop(talk(daemon.addr()));
        wait_ends(&daemon, 1);
        let all = || if model == "prefork" { processes(&daemon) } else { vec![daemon.pid()] };
        if model == "prefork" {
            wait_idle(&daemon, 2);
        }
        wait_until("the client's socket is closed", || {
            all().into_iter().all(|pid| sockets_of(pid).len() == 1)
        });
        let next = |pid| (0..).find(|fd| file_of_descriptor(pid, *fd).is_none()).unwrap();
        all().iter().for_each(|pid| prlimit(*pid, &format!("--nofile={}:", next(*pid))));
        assert_eq!(Peer::connect(daemon.addr()).rest(), b"", "{model}: no end of file");
        daemon.wait_log("accept: Too many open files");
        all().iter().for_each(|pid| prlimit(*pid, "--nofile=3:"));
        let waiting = TcpStream::connect(daemon.addr()).unwrap();
        let spent = || all().into_iter().map(cpu_ticks).sum::<u64>();
        let (since, before) = (Instant::now(), spent());
        wait_until("a second is over", || since.elapsed() > Duration::from_secs(1));
        // Ticks are hundredths of a second.
        let percent = (spent() - before) as f64 / since.elapsed().as_secs_f64();
        assert!(percent < 5.0, "{model}: {percent} % of a CPU while out of descriptors");
        let warned = daemon.log().matches("Too many open files").count();
        assert!(warned <= all().len(), "{model}: {}", daemon.log());
        all().iter().for_each(|pid| prlimit(*pid, "--nofile=1024:"));
        hello(&mut Peer::new(waiting));
        daemon.wait_log("accept: works again");
    });
}

/// Without a process or thread left for the server's user, clone fails with EAGAIN. Root is above
/// that limit.
#[test]
fn case_13_without_processes_the_client_gets_an_end_of_file_and_nothing_leaks() {
    each_model(&CONCURRENT, |model| {
        let mut limited = Command::new("prlimit");
        limited.args(["--nproc=0:", ECHOD, "-m", model]);
        let user: &[&str] = if geteuid().is_root() { &["-u", "nobody"] } else { &[] };
        let daemon = Daemon::spawn(limited, user);
        assert_eq!(Peer::connect(daemon.addr()).rest(), b"", "{model}"); // it serves, as it can
        wait_until("that one is closed", || sockets_of(daemon.pid()).len() == 1);
        let before = descriptors_at_rest(daemon.pid());
        let clients = if model == "prefork" { 5 } else { 100 }; // it tries again every 200 ms
        for number in 0..clients {
            let speaks = number % 5 == 0;
            if speaks {
                daemon.signal(Signal::SIGSTOP);
                wait_until("it has stopped", || state(daemon.pid()) == Some('T'));
            }
            let mut peer = Peer::connect(daemon.addr());
            if speaks {
                peer.send("anybody there?\n");
                daemon.signal(Signal::SIGCONT);
            }
            assert_eq!(peer.rest(), b"", "{model}"); // an end of file, not a reset
        }
        daemon.wait_log("Resource temporarily unavailable");
        wait_until("the last one is closed", || descriptors(daemon.pid()) == before);
        assert!(children(daemon.pid()).is_empty());
        assert_eq!(daemon.stop().code(), Some(0));
    });
}

#[test]
fn case_14_a_thousand_short_clients_are_all_served_under_any_model() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        let addr = daemon.addr();
        let share = move || (0..125).for_each(|_| drop(talk(addr)));
        let clients: Vec<_> = (0..8).map(|_| thread::spawn(share)).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        wait_ends(&daemon, 1000);
        wait_until("no zombie is left", || zombies(daemon.pid()).is_empty());
        wait_until("the parent holds no client", || sockets_of(daemon.pid()).len() == 1);
    });
}

/// One octet each 50 ms with an answer each: every wait and every turn is short.
#[test]
fn case_23_a_session_of_single_octets_ends_at_the_total_deadline() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &["-t", "60", "--deadline", "0.5"]);
        // Before the server can begin to count.
        let (since, mut peer) = (Instant::now(), Peer::connect(daemon.addr()));
        let mut answers = 0;
        while peer.try_send("x").is_ok() && peer.hears_octet() {
            answers += 1;
            assert!(answers < 20, "{model} serves for longer than twice the deadline");
            thread::sleep(Duration::from_millis(50)); // the client's own pace
        }
        assert!(since.elapsed() >= Duration::from_millis(450), "{model}: {:?}", since.elapsed());
        daemon.wait_log("Connection timed out");
    });
}

#[test]
fn case_23_the_total_deadline_holds_though_it_is_shorter_than_the_idle_limit() {
    each_model(&MODELS, |model| {
        // The idle limit is longer than the watchdog.
        let daemon = echod_as(model, &["-t", "3600", "--deadline", "0.5"]);
        let mut silent = Peer::connect(daemon.addr());
        assert_eq!(silent.rest(), b"", "{model}");
        let mut once = Peer::connect(daemon.addr());
        let _may_be_too_late = once.try_send("hello\n");
        assert!(once.is_closed(), "{model}");
    });
}

fn is_refused(addr: SocketAddr) -> bool {
    Peer::connect(addr).rest().is_empty()
}

/// As [`is_refused`], of a client that may be served.
fn is_refused_when_it_speaks(addr: SocketAddr) -> bool {
    let mut peer = Peer::connect(addr);
    !(peer.try_send("hello\n").is_ok() && peer.hears("hello\n"))
}

#[test]
fn case_24_client_n_plus_1_is_refused_until_there_is_a_place() {
    each_model(&CONCURRENT, |model| {
        let daemon = echod_as(model, &["-c", "2", "-n", "2"]);
        let (first, second) = (talk(daemon.addr()), talk(daemon.addr()));
        for _ in 0..20 {
            assert!(is_refused(daemon.addr()), "{model}");
            assert!(children(daemon.pid()).len() <= 2, "{model}");
        }
        drop(first);
        drop((served(daemon.addr()), second));
        daemon.wait_log("refused: 2 clients are served already");
    });
}

#[test]
fn case_24_with_fewer_workers_than_clients_may_come_the_next_one_waits() {
    let daemon = echod_as("prefork", &["-n", "2", "-c", "10"]);
    waits_for_a_place(&daemon);
    assert!(!daemon.log().contains("refused"), "{}", daemon.log());
}

#[test]
fn case_24_with_over_queue_the_next_client_waits_under_any_model() {
    each_model(&CONCURRENT, |model| {
        waits_for_a_place(&echod_as(model, &["-c", "2", "-n", "2", "--over", "queue"]));
    });
}

/// The iterative server's queue is the backlog, with or without `--over queue`.
#[test]
fn case_24_under_iterative_everybody_waits_for_the_one_before() {
    let daemon = echod_as("iterative", &[]);
    let first = talk(daemon.addr());
    let mut next: Vec<Peer> = (0..5).map(|_| Peer::connect(daemon.addr())).collect();
    next.iter_mut().for_each(|peer| peer.send("hello\n"));
    assert!(next[0].is_silent(), "two are served at once");
    drop(first);
    for mut peer in next {
        peer.expect("hello\n");
    }
}

/// Two are served; two more wait without a word, and come in one after the other.
fn waits_for_a_place(daemon: &Daemon) {
    let (first, second) = (talk(daemon.addr()), talk(daemon.addr()));
    let (mut third, mut fourth) = (Peer::connect(daemon.addr()), Peer::connect(daemon.addr()));
    third.send("hello\n");
    fourth.send("hello\n");
    assert!(third.is_silent() && fourth.is_silent(), "more than two are served");
    assert!(children(daemon.pid()).len() <= 2);
    drop(first);
    third.expect("hello\n");
    assert!(fourth.is_silent(), "more than two are served");
    drop(second);
    fourth.expect("hello\n");
}

#[test]
fn case_24_a_full_address_leaves_another_alone() {
    each_model(&CONCURRENT, |model| {
        let daemon = echod_as(model, &["--max-per-ip", "2"]);
        let (first, _second) = (talk(daemon.addr()), talk(daemon.addr()));
        for _ in 0..5 {
            assert!(is_refused(daemon.addr()), "{model}");
        }
        let mut other = connect_from(OTHER, daemon.addr());
        hello(&mut other);
        drop(first);
        drop(served(daemon.addr()));
        daemon.wait_log("refused: 2 clients of this address are served already");
    });
}

#[test]
fn case_24_an_address_that_comes_too_often_is_refused_until_its_time_is_over() {
    each_model(&MODELS, |model| {
        let comes_four_times = |period: u64| {
            let daemon = echod_as(model, &["--rate", &format!("2/{period}")]);
            let since = Instant::now();
            drop(talk(daemon.addr()));
            drop(talk(daemon.addr()));
            let refused = [(); 2].map(|()| is_refused_when_it_speaks(daemon.addr()));
            let is_in_time = since.elapsed() < Duration::from_secs(period);
            is_in_time.then_some((daemon, since, refused, period))
        };
        // A try in which four clients take longer than the period says nothing: a longer one, then.
        let judged = [3, 3, 6, 12, 24, 48].into_iter().find_map(comes_four_times);
        let (daemon, since, refused, period) = judged.expect("four clients in 48 seconds");
        assert_eq!(refused, [true; 2], "{model}");
        hello(&mut connect_from(OTHER, daemon.addr()));
        drop(served(daemon.addr()));
        let least = Duration::from_millis(period * 1000 - 50);
        assert!(since.elapsed() >= least, "{model}: {:?}", since.elapsed());
        daemon.wait_log(&format!("refused: more than 2 connections of this address in {period} s"));
    });
}

/// listen(2): on Linux one more than the backlog fits in.
#[test]
fn case_24_the_queue_is_as_long_as_the_backlog_says() {
    let daemon = echod_as("fork", &["-b", "3"]);
    daemon.signal(Signal::SIGSTOP);
    wait_until("it has stopped", || state(daemon.pid()) == Some('T'));
    let knock = |_| TcpStream::connect_timeout(&daemon.addr(), Duration::from_millis(150));
    let queue: Vec<TcpStream> = (0..6).map(knock).filter_map(Result::ok).collect();
    assert_eq!(queue.len(), 4);
    daemon.signal(Signal::SIGCONT);
    queue.into_iter().for_each(|client| hello(&mut Peer::new(client)));
}

#[test]
fn case_25_no_socket_is_left_in_close_wait_under_any_model() {
    each_model(&MODELS, |model| {
        let daemon = echod_as(model, &[]);
        (0..20).for_each(|_| drop(talk(daemon.addr())));
        (0..20).for_each(|_| drop(Peer::connect(daemon.addr())));
        wait_ends(&daemon, 40);
        let in_close_wait = || sockets_in("08", daemon.addr().port());
        wait_until("none is in CLOSE_WAIT", || in_close_wait() == 0);
    });
}
