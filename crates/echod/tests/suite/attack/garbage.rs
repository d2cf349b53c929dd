//! What a child shares with its parent may hold anything.

use std::net::UdpSocket;

use nix::sys::signal::Signal;
use testkit::{
    Bystander, Daemon, Garbage, MODELS, Peer, WATCHDOG, can_take_over, children, each_model,
    fill_shared_pages, has_ended, log_of_lines, uninterrupted, wait_until, zombies,
};

use crate::attack::{FORKING, Traffic, children_titled, datagram_helper, server_as};
use crate::common::{hello, served, server_of, talk, wait_idle};

/// Clients at once, and prefork workers.
const CLIENTS: usize = 6;

#[test]
fn shared_pages_full_of_garbage_harm_nobody_under_any_model() {
    each_model(&MODELS, |model| full_of_garbage(model, &[]));
}

/// The parent counts the clients of each address, as its workers tell them.
#[test]
fn shared_pages_full_of_garbage_harm_nobody_where_prefork_workers_ask_for_each_client() {
    full_of_garbage("prefork", &["--rate", "1000000/1"]);
}

fn full_of_garbage(model: &str, more: &[&str]) {
    let limit = CLIENTS.to_string();
    let limits = ["-n", &limit, "-c", &limit, "--max-per-ip", &limit];
    let mut daemon = server_as(model, &[&limits[..], more].concat());
    if !can_take_over(daemon.pid()) {
        return;
    }
    if model == "prefork" {
        wait_idle(&daemon, CLIENTS); // they are set up
    }
    let bystanders = [Bystander::start(daemon.pid()), Bystander::start(0)];
    let sessions = if model == "iterative" { 0 } else { 2 };
    let mut others: Vec<Peer> = (0..sessions).map(|_| talk(daemon.addr())).collect();
    for garbage in Garbage::kinds() {
        eprintln!("{model}: {garbage:?}");
        round(&daemon, model, garbage, &mut others);
        bystanders.iter().for_each(Bystander::check);
    }
    drop(others);
    limits_hold(&daemon, if model == "iterative" { 1 } else { CLIENTS });
    bystanders.iter().for_each(Bystander::check);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{model}");
    daemon.wait_log("]: stopped\n");
    let _ = log_of_lines(&daemon, "echod");
    bystanders.iter().for_each(Bystander::check);
}

/// One kind of garbage, while others are served.
fn round(daemon: &Daemon, model: &str, garbage: Garbage, others: &mut [Peer]) {
    let traffic = Traffic::start(daemon.addr());
    let attacker = FORKING.contains(&model).then(|| talk(daemon.addr()));
    let taken_over = match &attacker {
        Some(peer) => server_of(daemon, peer),
        None => daemon.pid(),
    };
    for pid in targets(daemon, model, taken_over) {
        let pages = fill_shared_pages(pid, garbage);
        assert!(pages > 0, "{model}: {pid} shares nothing");
    }
    others.iter_mut().for_each(hello);
    drop(served(daemon.addr()));
    datagram_is_answered(daemon);
    table_is_logged(daemon);
    if let Some(mut attacker) = attacker {
        hello(&mut attacker);
        drop(attacker);
        if model == "fork" {
            daemon.wait_log(&format!("pid {taken_over}, exit 0"));
        }
    }
    others.iter_mut().for_each(hello);
    assert!(traffic.stop() > 0, "{model}");
    wait_until("no zombie is left", || zombies(daemon.pid()).is_empty());
}

/// The processes whose pages are filled. With a thread for each client there is no child at all, and the
/// server's own counters are filled.
fn targets(daemon: &Daemon, model: &str, taken_over: i32) -> Vec<i32> {
    match model {
        "thread" => {
            assert_eq!(children(daemon.pid()), []);
            vec![taken_over]
        }
        "iterative" => vec![datagram_helper(daemon)],
        "prefork" => {
            let idle = children_titled(daemon, "worker, idle").into_iter().take(1);
            idle.chain([taken_over, datagram_helper(daemon)]).collect()
        }
        _ => vec![taken_over, datagram_helper(daemon)],
    }
}

fn datagram_is_answered(daemon: &Daemon) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(daemon.addr()).unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    socket.send(b"hello").unwrap();
    let mut echo = [0; 8];
    assert_eq!(uninterrupted(|| socket.recv(&mut echo)).unwrap(), 5);
}

/// SIGUSR1: the table of clients, whatever stands in it.
fn table_is_logged(daemon: &Daemon) {
    let tables = || daemon.log().matches(" clients\n").count();
    let before = tables();
    daemon.signal(Signal::SIGUSR1);
    wait_until("the table is logged", || tables() > before);
}

/// As many clients as may be are served at once, and no more where they are refused.
fn limits_hold(daemon: &Daemon, clients: usize) {
    let mut peers: Vec<Peer> = (0..clients).map(|_| served(daemon.addr())).collect();
    if clients > 1 {
        assert_eq!(Peer::connect(daemon.addr()).rest(), b"", "one more than the limit");
    }
    peers.iter_mut().for_each(hello);
    for pid in children(daemon.pid()) {
        assert!(!has_ended(pid), "{pid} has ended");
    }
}
