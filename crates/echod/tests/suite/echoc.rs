//! echoc by datagrams and through UNIX-domain sockets.

use std::net::UdpSocket;
use std::process::{Command, Output};

use crate::common::echod;
use testkit::{Daemon, TempDir, run};

fn echoc(args: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoc"));
    command.args(args);
    run(command, stdin)
}

/// It must fail; its words.
fn complaint(args: &[&str], stdin: &[u8]) -> String {
    let output = echoc(args, stdin);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn each_line_goes_as_a_datagram_and_its_echo_is_printed() {
    let daemon = echod(&["--udp", "-v"]);
    let port = daemon.addr().port().to_string();
    let text = b"one\n\n\xff\x00three\nlast without an end";
    let output = echoc(&["-u", "127.0.0.1", &port], text);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, text);
    for octets in [4, 1, 8, 19] {
        daemon.wait_log(&format!("answered with {octets} octets"));
    }
    let long = vec![b'x'; 200_000];
    assert!(echoc(&["-u", "127.0.0.1", &port], &long).stdout == long);
}

#[test]
fn a_port_where_nobody_listens_is_told_at_once() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let said = complaint(&["-u", "127.0.0.1", &free], b"anybody?\n");
    assert_eq!(said, "echoc: dg_cli: Connection refused\n");
}

#[test]
fn an_answer_that_does_not_come_is_not_awaited_for_ever() {
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port().to_string();
    let said = complaint(&["-u", "-t", "0.2", "127.0.0.1", &port], b"hello?\n");
    assert_eq!(said, "echoc: dg_cli: no answer within 200ms\n");
}

#[test]
fn unix_domain_sockets_are_servers_too_by_stream_and_by_datagram() {
    let dir = TempDir::new();
    let path = dir.path().display();
    let id = std::process::id();
    let all = [
        format!("unix:{path}/stream"),
        format!("unix-dgram:{path}/datagram"),
        format!("unix:@forklore-echoc-{id}"),
        format!("unix-dgram:@forklore-echoc-{id}"),
    ];
    let args: Vec<&str> = all.iter().flat_map(|at| ["-l", at.as_str()]).collect();
    let daemon: Daemon = echod(&args);
    assert_eq!(daemon.listening(all.len()).len(), all.len());
    for at in &all {
        let output = echoc(&[at], b"hello\nyou\n");
        assert!(output.status.success(), "{at}: {output:?}");
        assert_eq!(output.stdout, b"hello\nyou\n", "{at}");
    }
    assert_eq!(daemon.stop().code(), Some(0));
    for at in &all {
        let said = complaint(&[at], b"hello\n");
        assert!(said.starts_with(&format!("echoc: connect to {at}: ")), "{said}");
    }
}
