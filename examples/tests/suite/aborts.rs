//! `slowserv` and `abortcli`: a connection that is reset before it is accepted.

use std::net::SocketAddr;
use std::process::Command;

use testkit::{Program, run};

const SLOWSERV: &str = env!("CARGO_BIN_EXE_slowserv");
const ABORTCLI: &str = env!("CARGO_BIN_EXE_abortcli");

fn slowserv() -> (Program, SocketAddr) {
    let server = Program::start(SLOWSERV, &["127.0.0.1:0"]);
    server.wait_errors("Enter accepts");
    let said = server.errors();
    let at = said.lines().find_map(|line| line.strip_prefix("listening on ")).unwrap();
    let at = at.parse().unwrap();
    (server, at)
}

/// A client that has come and gone; nobody has accepted it.
fn comes_and_goes(server: SocketAddr, options: &[&str]) {
    let mut client = Command::new(ABORTCLI);
    client.args(options).arg(server.to_string());
    let output = run(client, b"");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn accept_returns_a_connection_that_was_reset_and_its_first_read_tells() {
    let (mut server, at) = slowserv();
    comes_and_goes(at, &[]);
    server.send("\n");
    let said: Vec<String> = (0..5).map(|_| server.line().unwrap()).collect();
    assert!(said[0].starts_with("accept: a connection from 127.0.0.1:"), "{said:?}");
    assert_eq!(
        said[1..],
        [
            "first read: ECONNRESET (Connection reset by peer)",
            "getpeername: ENOTCONN (Transport endpoint is not connected)",
            "second read: 0 octets",
            "write: EPIPE (Broken pipe)",
        ]
    );
}

#[test]
fn a_client_that_has_closed_as_it_should_is_still_a_peer() {
    let (mut server, at) = slowserv();
    comes_and_goes(at, &["--fin"]);
    server.send("\n");
    server.line_with("first read: 0 octets");
    server.line_with("getpeername: 127.0.0.1:");
    server.line_with("write: 6 octets");
}

#[test]
fn a_server_outlives_any_number_of_aborts() {
    let (mut server, at) = slowserv();
    for _ in 0..5 {
        comes_and_goes(at, &[]);
    }
    comes_and_goes(at, &["--fin"]);
    server.send(&"\n".repeat(6));
    for _ in 0..5 {
        server.line_with("accept: a connection from");
        server.line_with("first read: ECONNRESET");
    }
    server.line_with("accept: a connection from");
    server.line_with("write: 6 octets");
    assert!(server.wait().success());
}
