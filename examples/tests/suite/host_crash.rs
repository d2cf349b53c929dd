//! The cures for a server's host that crashes. (What happens when one does, `scripts/hostcrash` shows
//! between two hosts.)

use std::net::TcpListener;

use testkit::{Peer, Program, wait_until};

const CLIENT: &str = env!("CARGO_BIN_EXE_hostcrash_cli");
const BLIND: &str = env!("CARGO_BIN_EXE_tcpcli01");

/// A client that has sent a line and awaits the answer, and its server, which does not give one.
fn waiting(binary: &str, options: &[&str]) -> (Program, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Program::start(binary, &[options, &[&address]].concat());
    let mut server = Peer::new(listener.accept().unwrap().0);
    client.send("a question\n");
    server.expect("a question\n");
    (client, server)
}

/// The timer of the client's socket as /proc/net/tcp has it: `00` none, `02` keepalive.
fn timer(server: &Peer) -> String {
    let [here, there] = [server.stream().peer_addr(), server.stream().local_addr()]
        .map(|address| format!(":{:04X}", address.unwrap().port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Both ports: one of them may also be that of a connection in TIME_WAIT.
    let mut own = lines.filter(|fields| fields[1].ends_with(&here) && fields[2].ends_with(&there));
    own.next().expect("the client's socket")[5][..2].to_owned()
}

#[test]
fn with_a_read_time_out_a_silent_server_is_an_error() {
    let (mut client, _server) = waiting(CLIENT, &["--timeout"]);
    let status = client.wait();
    let errors = client.errors();
    assert_eq!(status.code(), Some(1));
    assert_eq!(errors, "hostcrash_cli: readline error: Resource temporarily unavailable\n");
}

#[test]
fn with_keepalive_a_timer_runs_while_an_answer_is_awaited_without_it_none() {
    let (_client, server) = waiting(CLIENT, &["--keepalive"]);
    wait_until("the keepalive timer runs", || timer(&server) == "02");
    for binary in [CLIENT, BLIND] {
        let (_client, server) = waiting(binary, &[]);
        wait_until("what was sent is acknowledged", || timer(&server) != "01");
        assert_eq!(timer(&server), "00", "{binary}");
    }
}

#[test]
fn a_reset_is_econnreset() {
    for options in [&[][..], &["--keepalive"]] {
        let (mut client, server) = waiting(CLIENT, options);
        server.reset();
        let status = client.wait();
        let errors = client.errors();
        assert_eq!(status.code(), Some(1));
        assert_eq!(errors, "hostcrash_cli: readline error: Connection reset by peer\n");
    }
}

#[test]
fn lines_come_back_as_long_as_the_server_lives() {
    let (mut client, mut server) = waiting(CLIENT, &["--keepalive"]);
    server.send("a question\n");
    assert_eq!(client.line().unwrap(), "a question");
    client.send("one more\n");
    server.expect("one more\n");
    server.send("one more\n");
    assert_eq!(client.line().unwrap(), "one more");
}
