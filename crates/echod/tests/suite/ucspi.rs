//! The client's name and descriptors as tcpserver gives them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use testkit::{command, run, wait_child};

const ECHOD: &str = env!("CARGO_BIN_EXE_echod");

fn echod(variables: &[(&str, &str)]) -> Command {
    let mut command = command(ECHOD, &["-i"]);
    command.envs(variables.iter().copied());
    command
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

/// What echod logs of a client that says nothing on this pair of descriptors.
fn log_of(variables: &[(&str, &str)], input: OwnedFd, output: OwnedFd) -> String {
    let mut command = echod(variables);
    command.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(wait_child(&mut child, "echod ends").success(), "{log}");
    log
}

const NAMED: [(&str, &str); 3] =
    [("PROTO", "TCP"), ("TCPREMOTEIP", "192.0.2.7"), ("TCPREMOTEPORT", "4711")];

#[test]
fn case_27_the_variables_name_the_client_behind_pipes() {
    let output = run(echod(&NAMED), b"hello");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"hello");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("client 192.0.2.7:4711 start"), "{log}");
    let six = [("TCPREMOTEIP", "::ffff:192.0.2.7"), ("TCPREMOTEPORT", "4711")];
    let log = String::from_utf8(run(echod(&six), b"").stderr).unwrap();
    assert!(log.contains("client 192.0.2.7:4711 end"), "{log}");
}

#[test]
fn case_27_the_variables_name_the_client_behind_a_socket_of_another_program() {
    let (server, client) = UnixStream::pair().unwrap();
    drop(client);
    let log = log_of(&NAMED, server.try_clone().unwrap().into(), server.into());
    assert!(log.contains("client 192.0.2.7:4711 start"), "{log}");
    let (server, client) = tcp_pair();
    client.shutdown(Shutdown::Write).unwrap();
    let log = log_of(&NAMED, server.try_clone().unwrap().into(), server.into());
    assert!(log.contains("client 192.0.2.7:4711 start"), "{log}");
}

#[test]
fn variables_that_do_not_parse_leave_the_name_to_the_socket() {
    for odd in [("TCPREMOTEIP", "somewhere"), ("TCPREMOTEIP", ""), ("TCPREMOTEPORT", "4711")] {
        let (server, client) = tcp_pair();
        client.shutdown(Shutdown::Write).unwrap();
        let name = client.local_addr().unwrap();
        let log = log_of(&[odd], server.try_clone().unwrap().into(), server.into());
        assert!(log.contains(&format!("client {name} start")), "{odd:?}: {log}");
    }
}

#[test]
fn under_ucspi_descriptor_1_is_answered_to_even_beside_a_socket() {
    let (input, mut to_it) = UnixStream::pair().unwrap();
    let (mut from_it, output) = std::io::pipe().unwrap();
    to_it.write_all(b"hello").unwrap();
    to_it.shutdown(Shutdown::Write).unwrap();
    let _log = log_of(&NAMED, input.into(), output.into());
    let mut echo = String::new();
    from_it.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello");
}

#[test]
fn without_ucspi_the_socket_is_answered_to_and_descriptor_1_left_alone() {
    let (input, mut client) = tcp_pair();
    let (mut aside, output) = std::io::pipe().unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // Another program's variable of this name is none of ours.
    let _log = log_of(&[("PROTO", "https")], input.into(), output.into());
    let mut echo = String::new();
    client.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello");
    aside.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello", "nothing came this way");
}
