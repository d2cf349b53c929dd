//! accept interrupted by a signal: EINTR not handled, handled; SIGTERM lost, not lost.

use std::net::TcpStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, Peer, only_child, signal_mask, state, wait_until};

#[test]
fn tcpserv03_dies_of_eintr_when_a_child_ends() {
    let mut server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv03"), &[]);
    let addr = server.addr();
    // The first client's end does it, unless its child ended before the parent was back in accept.
    wait_until("the server listens no more", || TcpStream::connect(addr).is_err());
    assert_eq!(server.wait().code(), Some(1));
    server.wait_log("tcpserv03: accept error: Interrupted system call\n");
}

#[test]
fn tcpserv04_goes_round_after_eintr() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    for ended in 1..=20 {
        Peer::connect(server.addr()).ask("hello", "hello");
        wait_until("its child's end was heard", || {
            server.log().matches(" terminated").count() == ended
        });
    }
    Peer::connect(server.addr()).ask("still there", "still there");
}

/// A server that was told to end while it was stopped between its test of the flag and its wait.
fn told_to_end_in_the_window(binary: &str) -> Daemon {
    let server = Daemon::example(binary, &["--stop-in-window"]);
    server.wait_log("in the window");
    wait_until("it has stopped itself", || state(server.pid()) == Some('T'));
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGCONT);
    server
}

#[test]
fn tcpserv05_loses_a_sigterm_between_test_and_accept_until_the_next_client() {
    let mut server = told_to_end_in_the_window(env!("CARGO_BIN_EXE_tcpserv05"));
    wait_until("it sleeps or has ended", || matches!(state(server.pid()), Some('S' | 'Z')));
    assert_eq!(state(server.pid()), Some('S')); // in accept, the flag being up
    let mut client = Peer::connect(server.addr());
    client.ask("told to end, and serving", "told to end, and serving");
    assert_eq!(server.wait().code(), Some(0)); // now it has seen the flag
    client.ask("the child stays", "the child stays");
}

#[test]
fn tcpserv06_sees_a_sigterm_from_between_test_and_ppoll() {
    let mut server = told_to_end_in_the_window(env!("CARGO_BIN_EXE_tcpserv06"));
    assert_eq!(server.wait().code(), Some(0)); // without any client's help
}

#[test]
fn tcpserv05_ends_by_a_sigterm_that_interrupts_accept() {
    let mut server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv05"), &[]);
    let pid = Pid::from_raw(server.pid());
    wait_until("a SIGTERM finds it in accept", || {
        kill(pid, Signal::SIGTERM).unwrap();
        state(pid.as_raw()) == Some('Z')
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn tcpserv06_ends_by_one_sigterm_whenever_it_comes() {
    for _ in 0..20 {
        let mut server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv06"), &[]);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn tcpserv06_gives_its_child_the_mask_and_sigterm_back() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv06"), &[]);
    let mut client = Peer::connect(server.addr());
    client.ask("hello", "hello");
    let child = only_child(server.pid());
    assert_eq!(signal_mask(child, "SigBlk:"), 0);
    kill(Pid::from_raw(child), Signal::SIGTERM).unwrap();
    assert!(client.is_closed());
    server.wait_log(&format!("child {child} terminated"));
    Peer::connect(server.addr()).ask("still there", "still there");
}
