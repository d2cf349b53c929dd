//! The slides' three reapers: none, wait, waitpid.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use testkit::{Daemon, Peer, children, state, wait_child, wait_until, zombies};

/// tcpcli04 with its five connections, each of which has its child.
fn five_clients(server: &Daemon) -> Child {
    let mut client = Command::new(env!("CARGO_BIN_EXE_tcpcli04"))
        .arg(server.addr().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut echo = String::new();
    BufReader::new(client.stdout.take().unwrap()).read_line(&mut echo).unwrap();
    assert_eq!(echo, "hello\n");
    wait_until("each connection has its child", || children(server.pid()).len() == 5);
    client
}

/// End of file for the client, whose end closes all five connections.
fn terminate_all_five(mut client: Child) {
    drop(client.stdin.take());
    assert!(wait_child(&mut client, "tcpcli04 ends").success());
}

/// All five children end while the parent is stopped: five signals, of which one is kept.
fn five_end_while_the_parent_is_stopped(server: &Daemon) -> Vec<i32> {
    let client = five_clients(server);
    let five = children(server.pid());
    server.signal(Signal::SIGSTOP);
    wait_until("the parent is stopped", || state(server.pid()) == Some('T'));
    terminate_all_five(client);
    wait_until("all five have ended", || zombies(server.pid()).len() == 5);
    server.signal(Signal::SIGCONT);
    five
}

/// A client that is served: by then no signal is pending any more, and no handler runs.
fn one_more_is_served(server: &Daemon) -> Peer {
    let mut peer = Peer::connect(server.addr());
    peer.ask("one more", "one more");
    peer
}

#[test]
fn without_a_handler_all_five_children_stay_zombies() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv01"), &[]);
    terminate_all_five(five_clients(&server));
    wait_until("all five are zombies", || zombies(server.pid()).len() == 5);
    drop(one_more_is_served(&server));
    wait_until("so is the sixth", || zombies(server.pid()).len() == 6);
}

#[test]
fn with_wait_one_signal_takes_one_child_and_four_zombies_stay() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv02"), &[]);
    five_end_while_the_parent_is_stopped(&server);
    server.wait_log("terminated");
    let _sixth = one_more_is_served(&server);
    let stay = zombies(server.pid());
    assert_eq!(stay.len(), 4, "zombies: {stay:?}");
    assert_eq!(server.log().matches(" terminated").count(), 1);
}

#[test]
fn with_wait_one_client_after_the_other_leaves_no_zombie() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv02"), &[]);
    for _ in 0..3 {
        drop(one_more_is_served(&server));
        wait_until("its child has gone", || children(server.pid()).is_empty());
    }
}

#[test]
fn with_waitpid_one_signal_takes_all_five_children() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    let five = five_end_while_the_parent_is_stopped(&server);
    wait_until("no child is left, alive or dead", || children(server.pid()).is_empty());
    for pid in five {
        server.wait_log(&format!("child {pid} terminated\n"));
    }
    drop(one_more_is_served(&server));
}

#[test]
fn with_waitpid_no_zombie_stays_when_five_end_at_once() {
    let server = Daemon::example(env!("CARGO_BIN_EXE_tcpserv04"), &[]);
    for _ in 0..5 {
        terminate_all_five(five_clients(&server));
        wait_until("no child is left, alive or dead", || children(server.pid()).is_empty());
    }
}
