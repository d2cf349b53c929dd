//! One client after the other, a child for each, a thread for each, children forked in advance.

use std::collections::BTreeSet;
use std::process::Command;

use testkit::{Daemon, Peer, children, run, state, tasks, wait_until, zombies};

const ALL: [&str; 5] = [
    env!("CARGO_BIN_EXE_tcpserv04"),
    env!("CARGO_BIN_EXE_tcpserv06"),
    env!("CARGO_BIN_EXE_tcpserv_iterative"),
    env!("CARGO_BIN_EXE_tcpserv_prefork"),
    env!("CARGO_BIN_EXE_tcpserv_thread"),
];

/// A client that has been answered.
fn served(server: &Daemon) -> Peer {
    let mut peer = Peer::connect(server.addr());
    peer.ask("hello", "hello");
    peer
}

#[test]
fn iterative_the_second_client_waits_until_the_first_has_gone() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv_iterative"), &[]);
    let first = served(&server);
    let mut second = Peer::connect(server.addr()); // connected, by the system
    second.send("hello\n");
    assert!(second.is_silent());
    drop(first);
    second.expect("hello");
    assert_eq!((children(server.pid()).len(), tasks(server.pid())), (0, 1));
}

#[test]
fn fork_the_second_client_does_not_wait() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let _first = served(&server);
    let _second = served(&server);
    assert_eq!((children(server.pid()).len(), tasks(server.pid())), (2, 1));
}

#[test]
fn thread_each_client_has_a_thread_and_nobody_becomes_a_zombie() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv_thread"), &[]);
    let clients = [served(&server), served(&server), served(&server)];
    assert_eq!((children(server.pid()).len(), tasks(server.pid())), (0, 4));
    drop(clients);
    wait_until("the threads have ended", || tasks(server.pid()) == 1);
}

#[test]
fn prefork_the_same_five_children_serve_all_and_a_sixth_client_waits() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv_prefork"), &[]);
    let before: BTreeSet<i32> = children(server.pid()).into_iter().collect();
    assert_eq!(before.len(), 5);
    for _ in 0..3 {
        let mut five: Vec<Peer> = (0..5).map(|_| served(&server)).collect();
        let mut sixth = Peer::connect(server.addr());
        sixth.send("hello\n");
        assert!(sixth.is_silent());
        drop(five.pop());
        sixth.expect("hello");
    }
    assert_eq!(children(server.pid()).into_iter().collect::<BTreeSet<_>>(), before);
    assert!(zombies(server.pid()).is_empty());
}

#[test]
fn prefork_the_children_end_with_their_parent() {
    for signal in [nix::sys::signal::SIGTERM, nix::sys::signal::SIGKILL] {
        let mut server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv_prefork"), &[]);
        let _busy = served(&server);
        let five = children(server.pid());
        server.signal(signal);
        let status = server.wait();
        assert_eq!(status.success(), signal == nix::sys::signal::SIGTERM);
        // A pid may be given to another process at once, which is then no child that waits here.
        let gone = |pid: &i32| matches!(state(*pid), None | Some('Z'));
        wait_until("all five have ended", || five.iter().all(gone));
    }
}

#[test]
fn a_client_that_resets_ends_no_server() {
    for binary in ALL {
        let server = Daemon::example(binary, &[]);
        for _ in 0..10 {
            served(&server).reset();
        }
        served(&server);
    }
}

#[test]
fn lines_longer_than_maxline_and_without_end_come_back_whole() {
    for binary in ALL {
        let server = Daemon::example(binary, &[]);
        let mut peer = Peer::connect(server.addr());
        let octets: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
        peer.send(&octets);
        peer.shutdown_write();
        assert!(peer.rest() == octets, "{binary}");
    }
}

#[test]
fn an_address_in_use_is_told_and_ends_the_server() {
    for binary in ALL {
        let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv_iterative"), &[]);
        let mut command = Command::new(binary);
        command.arg(server.addr().to_string());
        let output = run(command, b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.ends_with(": bind error: Address already in use\n"), "{stderr}");
    }
}
